import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Answer } from '../../../services/chassis/contract/contract.ts'
import { Failure, unavailable } from '../../../services/chassis/contract/failure.ts'
import { newId } from '../../../services/chassis/contract/ids.ts'
import { type AnswerTo, DeadLetter, type Settling } from '../../../services/chassis/data/delivery.ts'
import { openOutbox } from '../../../services/chassis/data/outbox.ts'
import { booking, stock } from '../../support/commands.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { PROTOCOLS, startPair } from '../../support/protocols.ts'
import { testRuntime } from '../../support/runtime.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await testDatabase('booking')
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from outbox'))

const { reserve, release } = stock.contract
const contract = { reserve, release }
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const left = () => db.sql<{ reason: string | null; parked: boolean }>('select last_error as reason, parked_at is not null as parked from outbox')

type Reserve = () => Answer<typeof reserve> | Promise<Answer<typeof reserve>>

describe.each(PROTOCOLS)('a command by %s', protocol => {
  /** A sender and its callee, with the transport's own server and client between them. */
  async function pair(reserves: Reserve, { workload = async () => ({ kind: 'workload' as const, id: 'booking' }) } = {}) {
    const { client } = await startPair(
      protocol,
      contract,
      { reserve: reserves, release: () => ({ status: 204 }) },
      { verifiers: { workload }, edge: { attemptTimeoutMs: 300, maxAttempts: 1 }, client: { workloadToken: () => 'token' } },
    )
    const runtime = testRuntime()
    const settled: unknown[] = []
    const { outbox, startRelay } = openOutbox({
      ...runtime,
      service: booking,
      database: db.database,
      call: (scope, _callee, operation, options) => client.call(scope, operation as 'reserve', options as never),
    })
    const reserved = async (answer: AnswerTo<typeof booking, 'stock.reserve'>, { tx }: Settling) => {
      const what = 'problem' in answer ? answer.problem.code : answer.body
      if (what === 'sold-out') throw new DeadLetter('never-sold-out')
      tx.afterCommit(() => settled.push(what))
    }
    const released = async ({ status }: AnswerTo<typeof booking, 'stock.release'>, { tx }: Settling) => tx.afterCommit(() => settled.push(status))
    const send = async (commands: ('reserve' | 'release')[]) => {
      const [scope, id] = [runtime.scope(), newId()]
      await db.database.transaction(scope, async tx => {
        for (const command of commands)
          if (command === 'reserve') await outbox.send(tx, scope, 'stock.reserve', id, { params: { id }, body: { sku: 'bike' } })
          else await outbox.send(tx, scope, 'stock.release', id, { params: { id } })
      })
    }
    const relay = startRelay({ 'stock.reserve': reserved, 'stock.release': released }, { pollMs: 20, maxBackoffMs: 20 })
    onTestFinished(relay.close)
    return { settled, send }
  }

  test('is settled with its typed answer, and then the next of its subject', async () => {
    const { send, settled } = await pair(() => ({ status: 200, body: { left: 3 } }))
    await send(['reserve', 'release', 'reserve'])
    await soon(async () => expect(await left()).toEqual([]))
    expect(settled).toEqual([{ left: 3 }, 204, { left: 3 }])
  })

  test.each([
    ['not-found', 'unknown-sku'],
    ['too-many', 'too-many-reservations'],
  ] as const)('is settled with a declared problem: %s %s', async (kind, code) => {
    const { send, settled } = await pair(() => {
      throw new Failure(kind, code, 'No')
    })
    await send(['reserve', 'release'])
    await soon(async () => expect(await left()).toEqual([]))
    expect(settled).toEqual([code, 204])
  })

  test.each([
    ['an undeclared problem', new Failure('conflict', 'not-declared', 'No'), 'not-declared'],
    ['an answer that its sender does not accept', new Failure('conflict', 'sold-out', 'No'), 'never-sold-out'],
  ])('is parked by %s, and holds back the next of its subject alone', async (_name, failure, reason) => {
    let refuses = true
    const { send, settled } = await pair(() => {
      if (refuses) throw failure
      return { status: 200, body: { left: 3 } }
    })
    await send(['reserve', 'release'])
    await soon(async () => expect(await left()).toContainEqual({ reason, parked: true }))
    refuses = false
    await send(['reserve'])
    await soon(() => expect(settled).toEqual([{ left: 3 }]))
    expect(await left()).toHaveLength(2)
  })

  test.each<[string, Reserve]>([
    ['its callee is unavailable', () => Promise.reject(unavailable('Away'))],
    ['its callee fails', () => Promise.reject(new Error('x is undefined'))],
    ['its callee does not answer in time', () => pause(600).then(() => ({ status: 200, body: { left: 0 } }))],
  ])('is tried again while %s, before the next of its subject', async (_name, reserves) => {
    let broken = true
    const { send, settled } = await pair(() => (broken ? reserves() : { status: 200, body: { left: 3 } }))
    await send(['reserve', 'release'])
    await soon(async () => expect((await left()).map(({ reason }) => reason)).toContainEqual(expect.any(String)))
    expect(settled).toEqual([])
    broken = false
    await soon(async () => expect(await left()).toEqual([]))
    expect(settled).toEqual([{ left: 3 }, 204])
  })

  test('is tried again while its token is refused', async () => {
    let refuses = true
    const workload = async () => {
      if (refuses) throw new Failure('unauthenticated', 'unauthorized', 'No')
      return { kind: 'workload' as const, id: 'booking' }
    }
    const { send, settled } = await pair(() => ({ status: 200, body: { left: 3 } }), { workload })
    await send(['reserve'])
    await soon(async () => expect(await left()).toEqual([{ reason: 'unauthorized', parked: false }]))
    refuses = false
    await soon(async () => expect(await left()).toEqual([]))
    expect(settled).toEqual([{ left: 3 }])
  })
})
