import type { Tracer } from '@opentelemetry/api'
import type pg from 'pg'
import type { Logger } from 'pino'
import { DEFAULT_POOL_SIZE } from '../contract/graph.ts'
import type { Scope } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type DatabaseUrl, lastGood } from './database-url.ts'
import { type Listener, listen } from './listen.ts'
import { openPool } from './pool.ts'
import type { Queryable } from './reads.ts'
import { createRunStatement, type Statement } from './statement.ts'
import { inTransaction } from './transaction.ts'

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
  listen(channel: string, onNotify: () => void): Listener
  /**
   * Opens all connections of the pool, before a process says that it is ready: each costs as much processor time as several
   * requests, and a new pod would pay for ten of them while it is given its full share of the load. Those that cannot be opened
   * now are opened when they are needed; never rejects.
   */
  warm(): Promise<void>
  /**
   * Resolves when the server answers; rejects after `timeoutMs`. While every connection is lent out, the statements that it answers there are
   * proof enough for some seconds: a question that waits its turn would tell of the queue, and end all of a service's pods at once.
   */
  ping(timeoutMs: number): Promise<void>
  stats(): { total: number; idle: number; waiting: number }
  /** How long whoever has waited longest for a connection has done so, in milliseconds; 0 while nobody waits. */
  waitMs(): number
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

export function openDatabase({ url: given, tracer, poolSize = DEFAULT_POOL_SIZE, ...options }: DatabaseOptions): Database {
  const { service, log, statementTimeoutMs } = options
  const url = lastGood(given, log)
  const pool = openPool({ ...options, url, poolSize })
  const run = createRunStatement(tracer, url())
  return {
    query: async (scope, statement, values = []) => {
      const once = (client: Queryable) => run(client, scope, statement, values)
      const forGood = (client: Queryable) => {
        scope.cancellation?.signal.throwIfAborted()
        // What a WITH changes is called SELECT by the server, too.
        if (!statement.reads) scope.cancellation?.disarm()
        return once(client)
      }
      const { signal } = scope.deadline
      const shared = statement.reads ? await pool.share(signal, once) : undefined
      if (shared) return shared.result
      return pool.lend(signal, forGood, scope.cancellation?.signal)
    },
    transaction: async (scope, work) => {
      const transact = (client: pg.ClientBase) => inTransaction(client, run, scope, work)
      const { result, afterwards } = await pool.lend(scope.deadline.signal, transact, scope.cancellation?.signal)
      for (const next of afterwards) next()
      return result
    },
    listen: (channel, onNotify) => listen({ url, service, log, connectMs: statementTimeoutMs, channel, onNotify }),
    warm: pool.warm,
    ping: async timeoutMs => {
      if (!pool.isQueued()) await pool.lend(AbortSignal.timeout(timeoutMs), client => client.query('select 1'))
    },
    stats: pool.stats,
    waitMs: pool.waitMs,
    close: pool.close,
  }
}
