import { SpanKind, type Tracer } from '@opentelemetry/api'
import pg from 'pg'
import type { Logger } from 'pino'
import { deadlineExceeded, Failure, unavailable } from '../contract/failure.ts'
import { DEFAULT_POOL_SIZE } from '../contract/graph.ts'
import type { Scope } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { childSpan, failSpan } from '../telemetry/tracing.ts'
import type { DatabaseUrl } from './database-url.ts'

/** One named SQL statement: prepared once a connection, and the name of its span. `Row` is what a row looks like. */
export interface Statement<Row> {
  readonly name: string
  readonly text: string
  readonly row?: Row
}

/** @example const productBySku = statement<Product>('product-by-sku', 'select * from products where sku = $1') */
export const statement = <Row = never>(name: string, text: string): Statement<Row> => ({ name, text })

export interface Queries {
  /** Runs one statement within the scope's deadline and returns its rows. */
  query<Row>(scope: Scope, statement: Statement<Row>, values?: readonly unknown[]): Promise<Row[]>
}

export interface Transaction extends Queries {
  /** Does `work` once the transaction is committed, such as counting what it did; never when it is rolled back. It must not throw. */
  afterCommit(work: () => void): void
}

export interface Database extends Queries {
  /** Runs `work` in one transaction; its statements must use the `Transaction` that it is given. Rolls back when it throws. */
  transaction<T>(scope: Scope, work: (tx: Transaction) => Promise<T>): Promise<T>
  /** Calls `onNotify` for each NOTIFY on a channel, over a connection of its own that is made anew when it breaks. */
  listen(channel: string, onNotify: () => void): { close(): Promise<void> }
  /**
   * Opens all connections of the pool, before a process says that it is ready: each costs as much processor time as several
   * requests, and a new pod would pay for ten of them while it is given its full share of the load. Those that cannot be opened
   * now are opened when they are needed; never rejects.
   */
  warm(): Promise<void>
  /** Resolves when the database answers; rejects after `timeoutMs`. */
  /**
   * Resolves when the server answers. While every connection is lent out, the statements that it answers there are proof enough for some
   * seconds: a question that waits its turn would tell of the queue, and end all of a service's pods at once.
   */
  ping(timeoutMs: number): Promise<void>
  stats(): { total: number; idle: number; waiting: number }
  /** Waits for connections in use, at most `timeoutMs`. */
  close(timeoutMs: number): Promise<void>
}

export interface DatabaseOptions {
  /** Asked at each connect; while it throws, the last one stays. */
  url: DatabaseUrl
  service: string
  tracer: Tracer
  log: Logger
  metrics: Metrics
  /** @default DEFAULT_POOL_SIZE */
  poolSize?: number
  /** Longest time for one statement outside a transaction, in milliseconds; inside, what is left of the deadline counts. */
  statementTimeoutMs: number
}

// bigint: amounts are kept below 2^53, see money.ts. A larger one is a defect that must not be rounded away.
pg.types.setTypeParser(pg.types.builtins.INT8, text => {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError('a bigint exceeds 2^53')
  return value
})

/** How long the last answer counts while no connection is free to ask with. */
const ANSWERED_MS = 5_000

export function openDatabase({
  url: given,
  service,
  tracer,
  log,
  metrics,
  poolSize = DEFAULT_POOL_SIZE,
  statementTimeoutMs,
}: DatabaseOptions): Database {
  const url = lastGood(given, log)
  const base = { application_name: service, connectionTimeoutMillis: statementTimeoutMs, keepAlive: true }
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
    ...base,
    Client,
    max: poolSize,
    // A pool of one size: what was opened stays open for the next burst.
    idleTimeoutMillis: 0,
    statement_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: statementTimeoutMs,
  })
  // An idle connection that breaks is replaced at the next use.
  pool.on('error', error => log.warn({ err: error }, 'database connection lost'))
  gaugePool(metrics, pool)

  const { hostname, pathname } = new URL(url())
  const place = { 'db.system.name': 'postgresql', 'db.namespace': decodeURIComponent(pathname.slice(1)), 'server.address': hostname }
  /** With the statement as it is prepared: values are never part of it. */
  const spanOf = (scope: Scope, name: string, text: string) =>
    childSpan(tracer, scope.span, name, { kind: SpanKind.CLIENT, attributes: { ...place, 'db.query.summary': name, 'db.query.text': text } })

  const run = async <Row>(client: pg.PoolClient, scope: Scope, { name, text }: Statement<Row>, values: readonly unknown[]): Promise<Row[]> => {
    const span = spanOf(scope, name, text)
    try {
      const result = await client.query({ name, text, values: values as unknown[] })
      return result.rows as Row[]
    } catch (error) {
      failSpan(span, error)
      if (error instanceof pg.DatabaseError && error.code) span.setAttribute('db.response.status_code', error.code)
      throw error
    } finally {
      span.end()
    }
  }

  /** Lends a connection for `work`. When the signal aborts the connection is destroyed: its state is unknown. */
  const withClient = async <T>(signal: AbortSignal, work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    if (signal.aborted) throw signal.reason
    const client = await acquire(pool, signal)
    let broken: Error | undefined
    const onError = (error: Error) => {
      broken = error
    }
    const onAbort = () => {
      broken = signal.reason
      answeredAt = Number.NEGATIVE_INFINITY
      destroySocket(client)
    }
    client.on('error', onError)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await work(client)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (isConnectionLost(error)) broken = error as Error
      throw toDatabaseProblem(error)
    } finally {
      signal.removeEventListener('abort', onAbort)
      client.off('error', onError)
      client.release(broken)
    }
  }

  return {
    query: (scope, statement, values = []) => withClient(scope.deadline.signal, client => run(client, scope, statement, values)),
    transaction: async (scope, work) => {
      const afterwards: (() => void)[] = []
      const result = await withClient(scope.deadline.signal, async client => {
        await client.query(begin(scope))
        try {
          const query: Queries['query'] = (inner, statement, values = []) => run(client, inner, statement, values)
          const done = await work({ query, afterCommit: next => void afterwards.push(next) })
          // What is committed after a failed statement is rolled back, and the server calls that an answer.
          const { command } = await client.query('commit')
          if (command !== 'COMMIT') throw new Error('the transaction was rolled back: its work went on after a failed statement')
          return done
        } catch (error) {
          // On a broken connection the server rolls back by itself.
          if (!scope.deadline.signal.aborted) await client.query('rollback').catch(() => {})
          throw error
        }
      })
      for (const next of afterwards) next()
      return result
    },
    listen: (channel, onNotify) => listen({ ...base, url, channel, onNotify, log }),
    warm: async () => {
      // All are lent before one is given back, or the first would be lent again.
      const opened = await Promise.allSettled(Array.from({ length: poolSize }, () => pool.connect()))
      for (const result of opened) if (result.status === 'fulfilled') result.value.release()
    },
    ping: async timeoutMs => {
      const allLent = pool.idleCount === 0 && pool.totalCount >= poolSize
      if (allLent && performance.now() - answeredAt < ANSWERED_MS) return
      await withClient(AbortSignal.timeout(timeoutMs), client => client.query('select 1'))
    },
    stats: () => ({ total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: timeoutMs => Promise.race([pool.end(), new Promise<void>(resolve => setTimeout(resolve, timeoutMs).unref())]),
  }
}

/** What the URL was when it could last be read. */
function lastGood(url: DatabaseUrl, log: Logger): () => string {
  if (typeof url === 'string') return () => url
  let last = url()
  return () => {
    try {
      last = url()
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'the database URL cannot be read again; the last one stays')
    }
    return last
  }
}

/** One round trip: the transaction and its limits, taken from what is left of the deadline. */
function begin(scope: Scope): string {
  const leftMs = Math.max(1, Math.ceil(Math.min(scope.deadline.remainingMs(), 60_000)))
  return `begin; set local statement_timeout = ${leftMs}; set local lock_timeout = ${leftMs}`
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
        reject(unavailable('The database cannot be reached', error))
      },
    )
  })
}

/** pg's own end() says goodbye first, which a hanging server never hears. */
function destroySocket(client: pg.PoolClient): void {
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } }
  connection.stream.destroy()
}

const LOST = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', '57P01', '57P02', '57P03'])

function isConnectionLost(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return (
    (code !== undefined && (LOST.has(code) || code.startsWith('08'))) ||
    /^Connection terminated|connection error and is not queryable/.test(message ?? '')
  )
}

const RETRYABLE = new Set(['40001', '40P01', '53300', '53400'])
const TIMED_OUT = new Set(['57014', '55P03', '25P03'])

function toDatabaseProblem(error: unknown): unknown {
  if (error instanceof Failure) return error
  const code = (error as { code?: string }).code ?? ''
  if (isConnectionLost(error)) return unavailable('The database cannot be reached', error)
  if (RETRYABLE.has(code)) return unavailable('The database is busy', error)
  if (TIMED_OUT.has(code)) return deadlineExceeded(error)
  return error
}

function gaugePool(metrics: Metrics, pool: pg.Pool): void {
  const gauge = metrics.gauge('db_client_connection_count', 'Database connections by state; `pending` counts waiting requests', ['state'])
  ;(gauge as unknown as { collect: () => void }).collect = () => {
    gauge.set({ state: 'idle' }, pool.idleCount)
    gauge.set({ state: 'used' }, pool.totalCount - pool.idleCount)
    gauge.set({ state: 'pending' }, pool.waitingCount)
  }
}

interface ListenOptions extends pg.ClientConfig {
  url: () => string
  channel: string
  onNotify: () => void
  log: Logger
}

function listen({ url, channel, onNotify, log, ...config }: ListenOptions): { close(): Promise<void> } {
  let closed = false
  let client: pg.Client | undefined
  let timer: NodeJS.Timeout | undefined
  const connect = async () => {
    const mine = new pg.Client({ ...config, connectionString: url() })
    client = mine
    mine.on('error', error => closed || log.warn({ err: error }, 'listening connection lost'))
    mine.on('end', again)
    mine.on('notification', onNotify)
    try {
      await mine.connect()
      await mine.query(`listen ${pg.escapeIdentifier(channel)}`)
    } catch {
      destroyClient(mine)
      again()
    }
  }
  const again = () => {
    if (closed) return
    clearTimeout(timer)
    timer = setTimeout(connect, 1_000 + Math.random() * 1_000)
  }
  void connect()
  return {
    close: async () => {
      closed = true
      clearTimeout(timer)
      if (client) destroyClient(client)
    },
  }
}

const destroyClient = (client: pg.Client) => destroySocket(client as unknown as pg.PoolClient)
