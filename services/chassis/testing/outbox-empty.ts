import { setTimeout as sleep } from 'node:timers/promises'
import type { TestDatabase } from './database.ts'

/** Longest wait for the relay. */
const OUTBOX_MS = 10_000

interface Left {
  kind: string
  parked_at: Date | null
  last_error: string | null
}

const told = ({ kind, parked_at, last_error }: Left) => `${kind} ${parked_at ? 'is parked' : 'waits'} (${last_error ?? 'not tried yet'})`

/** @throws Error naming the messages that are not settled, after ten seconds or once one is parked */
export async function outboxEmpty(sql: TestDatabase['sql']): Promise<void> {
  const endsAt = performance.now() + OUTBOX_MS
  for (;;) {
    const left = await sql<Left>('select kind, parked_at, last_error from outbox order by id')
    if (left.length === 0) return
    if (performance.now() > endsAt || left.some(({ parked_at }) => parked_at !== null))
      throw new Error(`the outbox is not empty: ${left.map(told).join(', ')}`)
    await sleep(20)
  }
}
