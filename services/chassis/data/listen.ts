import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Logger } from 'pino'
import { unlessAborted } from '../contract/deadline.ts'
import { connectionSettings, destroySocket } from './connection.ts'

export interface ListenOptions {
  /** Asked at each connect. */
  url: () => string
  service: string
  log: Logger
  connectMs: number
  channel: string
  onNotify: () => void
}

export interface Listener {
  close(): Promise<void>
}

/** Calls `onNotify` for each NOTIFY on a channel, over a connection of its own that is made anew when it breaks. */
export function listen({ url, service, log, connectMs, channel, onNotify }: ListenOptions): Listener {
  const closing = new AbortController()
  const { signal } = closing

  const untilEnd = async (client: pg.Client) => {
    const end = new Promise<void>(resolve => client.once('end', resolve))
    await client.connect()
    await client.query(`listen ${pg.escapeIdentifier(channel)}`)
    await end
  }
  const session = async () => {
    const client = new pg.Client({ ...connectionSettings(service, connectMs), connectionString: url() })
    client.on('error', error => signal.aborted || log.warn({ err: error }, 'listening connection lost'))
    client.on('notification', onNotify)
    // What fails is tried again.
    await unlessAborted(signal, untilEnd(client)).catch(() => destroySocket(client))
  }
  const loop = async () => {
    while (!signal.aborted) {
      await session()
      await sleep(1_000 + Math.random() * 1_000, undefined, { signal }).catch(() => {})
    }
  }
  const running = loop()
  return {
    close: async () => {
      closing.abort()
      await running
    },
  }
}
