import pg from 'pg'
import type { Logger } from 'pino'
import { atMost } from '../contract/deadline.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { columnTypes } from './column-types.ts'
import { isConnectionLost, toDatabaseFailure, unreachable } from './database-failure.ts'

export interface PoolOptions {
  /** Asked at each connect. */
  url: () => string
  service: string
  log: Logger
  metrics: Metrics
  poolSize: number
  statementTimeoutMs: number
}

export interface Pool {
  /** Lends a connection for `work`. When the signal aborts the connection is destroyed: its state is unknown. */
  lend<T>(signal: AbortSignal, work: (client: pg.PoolClient) => Promise<T>): Promise<T>
  /** Opens what is not open yet. Never rejects. */
  warm(): Promise<void>
  /** Whether every connection is lent out and the server has answered on one of them lately. */
  isQueued(): boolean
  stats(): { total: number; idle: number; waiting: number }
  close(timeoutMs: number): Promise<void>
}

/** How long the last answer counts while no connection is free to ask with. */
const ANSWERED_MS = 5_000

export function openPool({ url, service, log, metrics, poolSize, statementTimeoutMs }: PoolOptions): Pool {
  let answeredAt = Number.NEGATIVE_INFINITY
  /** pg's own, but for where it connects to and as whom: a pool keeps what it was made with. */
  class Client extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, connectionString: url() })
      this.connection.on('readyForQuery', () => {
        answeredAt = performance.now()
      })
    }
  }
  const pool = new pg.Pool({
    ...connectionSettings(service, statementTimeoutMs),
    Client,
    max: poolSize,
    types: columnTypes,
    // A pool of one size: what was opened stays open for the next burst.
    idleTimeoutMillis: 0,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
  })
  // An idle connection that breaks is replaced at the next use.
  pool.on('error', error => log.warn({ err: error }, 'database connection lost'))
  gaugePool(metrics, pool)
  const doubt = () => {
    answeredAt = Number.NEGATIVE_INFINITY
  }
  return {
    lend: async (signal, work) => {
      signal.throwIfAborted()
      return lent(await acquire(pool, signal), signal, doubt, work)
    },
    warm: async () => {
      // All are lent before one is given back, or the first would be lent again.
      const opened = await Promise.allSettled(Array.from({ length: poolSize }, () => pool.connect()))
      for (const result of opened) if (result.status === 'fulfilled') result.value.release()
    },
    isQueued: () => pool.idleCount === 0 && pool.totalCount >= poolSize && performance.now() - answeredAt < ANSWERED_MS,
    stats: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: timeoutMs => atMost(timeoutMs, pool.end()),
  }
}

/** Of every connection of a service. */
export const connectionSettings = (service: string, connectMs: number) =>
  ({ application_name: service, connectionTimeoutMillis: connectMs, keepAlive: true }) as const

/** pg's own end() says goodbye first, which a hanging server never hears. */
export function destroySocket(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } }
  connection.stream.destroy()
}

/** Waits for a connection; one that comes after the signal goes straight back. */
function acquire(pool: pg.Pool, signal: AbortSignal): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    pool.connect().then(
      client => {
        signal.removeEventListener('abort', onAbort)
        if (signal.aborted) client.release()
        else resolve(client)
      },
      error => {
        signal.removeEventListener('abort', onAbort)
        reject(unreachable(error))
      },
    )
  })
}

/** Does `work` with a connection, and gives it back, or throws it away when it broke or the signal aborted. */
async function lent<T>(client: pg.PoolClient, signal: AbortSignal, onGivenUp: () => void, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  let broken: Error | undefined
  const onError = (error: Error) => {
    broken = error
  }
  const onAbort = () => {
    broken = signal.reason
    onGivenUp()
    destroySocket(client)
  }
  client.on('error', onError)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await work(client)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (isConnectionLost(error)) broken = error as Error
    throw toDatabaseFailure(error)
  } finally {
    signal.removeEventListener('abort', onAbort)
    client.off('error', onError)
    client.release(broken)
  }
}

function gaugePool(metrics: Metrics, pool: pg.Pool): void {
  const gauge = metrics.gauge('db_client_connection_count', 'Database connections by state; `pending` counts waiting requests', ['state'])
  ;(gauge as unknown as { collect: () => void }).collect = () => {
    gauge.set({ state: 'idle' }, pool.idleCount)
    gauge.set({ state: 'used' }, pool.totalCount - pool.idleCount)
    gauge.set({ state: 'pending' }, pool.waitingCount)
  }
}
