import pg from 'pg'
import type { Logger } from 'pino'
import { atMost } from '../contract/deadline.ts'
import { destroySocket, setOption } from './connection.ts'
import { isConnectionLost, toDatabaseFailure } from './database-failure.ts'

export interface ReadsOptions {
  connections: number
  /** A client that is not connected yet. @param config beside where it connects to */
  create: (config: pg.ClientConfig) => pg.Client
  log: Logger
}

/** As much of a client as a statement needs. */
export type Queryable = Pick<pg.ClientBase, 'query'>

export interface Reads {
  /**
   * Does `work`, which is one statement that only reads, over a connection that others use at the same time.
   * @returns undefined when no connection is quick enough now, or the statement has to be done over one of its own
   */
  share<T>(signal: AbortSignal, work: (client: Queryable) => Promise<T>): Promise<{ result: T } | undefined>
  /** Opens what is not open yet. @returns how many are */
  warm(): Promise<number>
  /** How many are open, and how many of them are in use. */
  stats(): { total: number; used: number }
  close(timeoutMs: number): Promise<void>
}

/** A connection whose first statement has taken that long gets no more: whoever stands behind it waits as well. */
const SLOW_MS = 20
/** Statements that are under way over one connection at most. */
const MAX_UNDER_WAY = 32
/** Between attempts to connect that fail. Statements go over connections of their own meanwhile. */
const PAUSE_MS = 1_000
/** How long a statement that is cancelled may go on before its connection is destroyed. */
const CANCEL_MS = 1_000

/** Cancelled in the place of a neighbour, or by the time limit of a session: to be done over a connection of its own. */
class Elsewhere extends Error {
  readonly code = CANCELED
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const CANCELED = '57014'
/** A statement that writes after all; one whose preparation was cancelled in the place of another, or was made twice for that. */
const ELSEWHERE = new Set(['25006', '26000', '42P05'])

/** A statement that is sent and not answered. */
interface Sent {
  isAbandoned: boolean
}

interface Shared {
  client: pg.Client
  sent: Sent[]
  /** Since when the first of them is worked on. */
  headSince: number
  /** A request to cancel is under way, which may hit whoever is first when it arrives. */
  cancelling: boolean
  corked: boolean
}

/** pg's Query as it is, beside what its types say: made of a statement, it tells its callback. */
const Query = pg.Query as unknown as new (config: pg.QueryConfig, callback: (error: Error | null, result?: pg.QueryResult) => void) => pg.Query

/**
 * A few connections for statements that only read and need no transaction. They are sent without waiting for the answers of others
 * (pg's pipeline mode), and those of one turn of the event loop with one write. The server works on those of one connection in their
 * order, so a slow one makes the others slow: then statements go over connections of their own. The sessions are read-only, so that each can be
 * repeated.
 */
export function openReads({ connections, create, log }: ReadsOptions): Reads {
  const all: (Shared | undefined)[] = Array.from({ length: connections })
  const opening = new Set<number>()
  let closed = false
  let againAt = Number.NEGATIVE_INFINITY

  const open = async (at: number): Promise<boolean> => {
    if (closed || opening.has(at) || performance.now() < againAt) return false
    opening.add(at)
    let client: pg.Client
    try {
      client = create({ pipeline: true } as pg.ClientConfig)
      setOption(client, 'default_transaction_read_only=on')
    } catch (error) {
      // Of a URL that pg cannot read, such as one with a certificate that is not there; lending tells of it.
      againAt = performance.now() + PAUSE_MS
      opening.delete(at)
      log.warn({ err: error }, 'no database connection can be made')
      return false
    }
    const shared: Shared = { client, sent: [], headSince: 0, cancelling: false, corked: false }
    client.on('error', error => {
      if (all[at] === shared) all[at] = undefined
      log.warn({ err: error }, 'database connection lost')
    })
    client.on('end', () => {
      if (all[at] === shared) all[at] = undefined
    })
    try {
      await client.connect()
      if (closed) await client.end()
      else all[at] = shared
      return !closed
    } catch {
      againAt = performance.now() + PAUSE_MS
      destroySocket(client)
      return false
    } finally {
      opening.delete(at)
    }
  }

  /** The one with the least to do, of those that are quick. */
  const choose = (): Shared | undefined => {
    let chosen: Shared | undefined
    const now = performance.now()
    for (const [at, shared] of all.entries()) {
      if (!shared) void open(at)
      else if (shared.sent.length === 0) return shared
      else if (!shared.cancelling && shared.sent.length < MAX_UNDER_WAY && now - shared.headSince < SLOW_MS)
        if (!chosen || shared.sent.length < chosen.sent.length) chosen = shared
    }
    return chosen
  }

  const send = (shared: Shared, config: pg.QueryConfig, signal: AbortSignal): Promise<pg.QueryResult> =>
    new Promise((resolve, reject) => {
      const settle = (error: unknown, result?: pg.QueryResult) => {
        signal.removeEventListener('abort', abandon)
        if (error) reject((error as { code?: string }).code === CANCELED ? new Elsewhere() : error)
        else resolve(result as pg.QueryResult)
      }
      const query = new Query(config, (error, result) => {
        answered(shared, sent)
        settle(error, result)
      })
      const sent: Sent = { isAbandoned: false }
      const abandon = () => {
        sent.isAbandoned = true
        reject(signal.reason)
        if (shared.sent[0] === sent) cancel(shared, sent)
      }
      signal.addEventListener('abort', abandon, { once: true })
      if (shared.sent.push(sent) === 1) shared.headSince = performance.now()
      cork(shared)
      shared.client.query(query as never)
    })

  const answered = (shared: Shared, sent: Sent) => {
    const at = shared.sent.indexOf(sent)
    if (at >= 0) shared.sent.splice(at, 1)
    shared.headSince = performance.now()
    const [first] = shared.sent
    if (first?.isAbandoned) cancel(shared, first)
  }

  /** Frees those behind a statement that nobody waits for. */
  const cancel = (shared: Shared, sent: Sent) => {
    if (shared.cancelling) return
    shared.cancelling = true
    let canceller: pg.Client | undefined
    try {
      canceller = create({})
      askToCancel(canceller, shared.client)
    } catch (error) {
      log.warn({ err: error }, 'a statement cannot be cancelled')
    }
    setTimeout(() => {
      if (canceller) destroySocket(canceller)
      shared.cancelling = false
      const [first] = shared.sent
      // Who is behind it repeats elsewhere.
      if (first === sent) destroySocket(shared.client)
      else if (first?.isAbandoned) cancel(shared, first)
    }, CANCEL_MS)
  }

  return {
    share: async (signal, work) => {
      signal.throwIfAborted()
      const shared = choose()
      if (!shared || closed) return undefined
      try {
        return { result: await work({ query: ((config: pg.QueryConfig) => send(shared, config, signal)) as Queryable['query'] }) }
      } catch (error) {
        if (signal.aborted) throw signal.reason
        if (error instanceof Elsewhere || ELSEWHERE.has((error as { code?: string }).code ?? '')) return undefined
        // Lost for the sake of a statement that did not end, or by itself: it reads, and can be repeated.
        if (isConnectionLost(error)) return undefined
        throw toDatabaseFailure(error)
      }
    },
    warm: async () => {
      let opened = 0
      for (const at of all.keys()) if (all[at] || (await open(at))) opened++
      return opened
    },
    stats: () => {
      const opened = all.filter(shared => shared !== undefined)
      return { total: opened.length, used: opened.filter(({ sent }) => sent.length > 0).length }
    },
    close: async timeoutMs => {
      closed = true
      const ending = all.filter(shared => shared !== undefined).map(({ client }) => client.end().catch(() => {}))
      await atMost(timeoutMs, Promise.all(ending))
      for (const shared of all) if (shared) destroySocket(shared.client)
    },
  }
}

/** https://www.postgresql.org/docs/current/protocol-flow.html, "Canceling Requests in Progress": over a connection that is made for it. */
function askToCancel(canceller: pg.Client, { processID, secretKey }: pg.Client & { processID?: number; secretKey?: number }): void {
  const { connection, host, port } = canceller as unknown as { connection: Wire; host: string; port: number }
  canceller.on('error', () => {})
  connection.on('error', () => {})
  connection.once('connect', () => connection.cancel(processID, secretKey))
  if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
  else connection.connect(port, host)
}

/** What pg's types leave out of its connections. */
interface Wire extends NodeJS.EventEmitter {
  stream: { cork(): void; uncork(): void }
  connect(port: number | string, host?: string): void
  cancel(processID: number | undefined, secretKey: number | undefined): void
}

/** One write for all statements of this turn of the event loop. */
function cork(shared: Shared): void {
  if (shared.corked) return
  shared.corked = true
  const { stream } = (shared.client as unknown as { connection: Wire }).connection
  stream.cork()
  setImmediate(() => {
    shared.corked = false
    stream.uncork()
  })
}

const WRITES_OR_WAITS =
  /\bfor\s+(no\s+key\s+)?(update|share)\b|\bfor\s+key\s+share\b|\binto\b|\b(nextval|setval|setseed|set_config|lo_\w+|dblink\w*|pg_\w+)\s*\(/i

/** Whether a statement can only read, and waits for no lock that others keep for long. Those of which that is not plain count as writing. */
export const isRead = (text: string): boolean => /^\s*select\b/i.test(text) && !WRITES_OR_WAITS.test(text)
