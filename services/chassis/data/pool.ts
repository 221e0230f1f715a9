import pg from 'pg'
import type { Logger } from 'pino'
import { atMost } from '../contract/deadline.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { columnTypes } from './column-types.ts'
import { connectionSettings, destroySocket, setOption } from './connection.ts'
import { isConnectionLost, toDatabaseFailure, unreachable } from './database-failure.ts'
import { openReads, type Reads } from './reads.ts'

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
  /**
   * Lends a connection for `work`. When the signal aborts the connection is destroyed: its state is unknown.
   * @param givenUp ends the wait for a connection, and harms none
   */
  lend<T>(signal: AbortSignal, work: (client: pg.PoolClient) => Promise<T>, givenUp?: AbortSignal): Promise<T>
  /** See Reads. */
  share: Reads['share']
  /** Opens what is not open yet, for five seconds and one attempt at most. Never rejects. */
  warm(): Promise<void>
  /** Whether every connection is lent out and the server has answered on one of them lately. */
  isQueued(): boolean
  stats(): { total: number; idle: number; waiting: number }
  /** How long whoever has waited longest for a connection has done so, in milliseconds; 0 while nobody waits. */
  waitMs(): number
  close(timeoutMs: number): Promise<void>
}

/** Share of a pool's connections that reads use together. */
const SHARED = 0.3
/**
 * How often the server looks, while it works on a statement or waits for a lock, whether we are still there: what was given up would else keep its place
 * and its locks until its time limit, beside the connection that was made in its place. Postgres 14 and later.
 */
const LOOK_MS = 100
/** How long the last answer counts while no connection is free to ask with. */
const ANSWERED_MS = 5_000

export function openPool({ url, service, log, metrics, poolSize, statementTimeoutMs }: PoolOptions): Pool {
  let answeredAt = Number.NEGATIVE_INFINITY
  /** pg's own, but for where it connects to and as whom: a pool keeps what it was made with. */
  class Client extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, connectionString: url() })
      setOption(this, `client_connection_check_interval=${LOOK_MS}`)
      this.connection.on('readyForQuery', () => {
        answeredAt = performance.now()
      })
    }
  }
  const settings = {
    ...connectionSettings(service, statementTimeoutMs),
    types: columnTypes,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
  }
  const shared = Math.floor(poolSize * SHARED)
  const own = poolSize - shared
  const reads = openReads({ connections: shared, create: config => new Client({ ...settings, ...config }), log })
  const pool = new pg.Pool({
    ...settings,
    Client,
    max: own,
    // A pool of one size: what was opened stays open for the next burst.
    idleTimeoutMillis: 0,
  })
  // An idle connection that breaks is replaced at the next use.
  pool.on('error', error => log.warn({ err: error }, 'database connection lost'))
  const stats = () => {
    const { total, used } = reads.stats()
    return { total: pool.totalCount + total, idle: pool.idleCount + total - used, waiting: pool.waitingCount }
  }
  gaugePool(metrics, stats)
  /** In the order in which they came. */
  const waiting = new Set<{ since: number }>()
  const doubt = () => {
    answeredAt = Number.NEGATIVE_INFINITY
  }
  return {
    lend: async (signal, work, givenUp) => {
      signal.throwIfAborted()
      givenUp?.throwIfAborted()
      const ticket = { since: performance.now() }
      waiting.add(ticket)
      const client = await acquire(pool, givenUp ? [signal, givenUp] : [signal]).finally(() => waiting.delete(ticket))
      return lent(client, signal, doubt, work)
    },
    warm: async () => {
      const opened = (await openAll(pool, own)) + (await reads.warm())
      if (opened < poolSize) log.warn({ opened, of: poolSize }, 'not all database connections are open; the others are opened when they are needed')
    },
    isQueued: () => pool.idleCount === 0 && pool.totalCount >= own && performance.now() - answeredAt < ANSWERED_MS,
    share: reads.share,
    stats,
    waitMs: () => {
      const [first] = waiting
      return first ? performance.now() - first.since : 0
    },
    close: async timeoutMs => void (await Promise.all([atMost(timeoutMs, pool.end()), reads.close(timeoutMs)])),
  }
}

/** How long a pod waits for its connections, beside the one that is being made. */
const WARM_MS = 5_000

/**
 * One after the other: a pod that starts shares a processor and the server with others that serve. Ends with the first that cannot be opened.
 * @returns how many are open
 */
async function openAll(pool: pg.Pool, count: number): Promise<number> {
  const endsAt = performance.now() + WARM_MS
  // All are lent before one is given back, or the first would be lent again.
  const opened: pg.PoolClient[] = []
  // One that breaks meanwhile is thrown away when it is given back; without a listener it would end the process.
  const ignore = () => {}
  try {
    while (opened.length < count && performance.now() < endsAt) {
      const client = await pool.connect()
      client.on('error', ignore)
      opened.push(client)
    }
  } catch {
    // Readiness tells of a server that is away.
  }
  for (const client of opened) {
    client.off('error', ignore)
    client.release()
  }
  return opened.length
}

/** Waits for a connection; one that comes after a signal goes straight back. A signal made of several would cost more than the rest. */
function acquire(pool: pg.Pool, signals: readonly AbortSignal[]): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    const onAbort = (event: Event) => reject((event.target as AbortSignal).reason)
    for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
    const settle = () => {
      for (const signal of signals) signal.removeEventListener('abort', onAbort)
    }
    pool.connect().then(
      client => {
        settle()
        if (signals.some(({ aborted }) => aborted)) client.release()
        else resolve(client)
      },
      error => {
        settle()
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

function gaugePool(metrics: Metrics, stats: Pool['stats']): void {
  const gauge = metrics.gauge('db_client_connection_count', 'Database connections by state; `pending` counts waiting requests', ['state'])
  ;(gauge as unknown as { collect: () => void }).collect = () => {
    const { total, idle, waiting } = stats()
    gauge.set({ state: 'idle' }, idle)
    gauge.set({ state: 'used' }, total - idle)
    gauge.set({ state: 'pending' }, waiting)
  }
}
