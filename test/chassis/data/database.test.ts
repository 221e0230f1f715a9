import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { Failure } from '../../../services/chassis/contract/failure.ts'
import { Cancelled, createCancellation, type Scope } from '../../../services/chassis/contract/scope.ts'
import { type Database, openDatabase, type Queries } from '../../../services/chassis/data/database.ts'
import { type DatabaseUrl, readDatabaseUrl } from '../../../services/chassis/data/database-url.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import { freePort } from '../../../services/chassis/local/ports.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

let db: TestDatabase
let count = 0

beforeAll(async () => {
  db = await testDatabase()
  await db.sql('create table notes (id int primary key, text text not null)')
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from notes'))

interface Opened {
  database: Database
  runtime: TestRuntime
  /** By which the server knows its sessions. */
  name: string
  /** Ends its sessions as an administrator would. */
  kill(): Promise<void>
  /** Number of its sessions, or of those that wait for something. */
  sessions(waitEvent?: string): Promise<number>
}

/** A pool of its own on the file's database. */
function open({
  url = db.url,
  poolSize = 1,
  statementTimeoutMs = 5_000,
}: {
  url?: DatabaseUrl
  poolSize?: number
  statementTimeoutMs?: number
} = {}): Opened {
  const name = `test-${++count}`
  const runtime = testRuntime()
  const database = openDatabase({ ...runtime, url, service: name, poolSize, statementTimeoutMs })
  onTestFinished(() => database.close(1_000).catch(() => {}))
  return {
    database,
    runtime,
    name,
    kill: async () => {
      await db.sql('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [name])
    },
    sessions: async waitEvent => {
      const rows = await db.sql<{ wait_event: string }>('select wait_event from pg_stat_activity where application_name = $1', [name])
      return rows.filter(row => waitEvent === undefined || row.wait_event === waitEvent).length
    },
  }
}

const NUMBER = statement<{ n: number }>('number', 'select $1::int as n')
const SLEEP = statement('sleep', 'select pg_sleep(20)')
const INSERT = statement('note-insert', 'insert into notes (id, text) values ($1, $2)')
const notes = () => db.sql('select id, text from notes order by id')
const soon = (check: () => unknown) => vi.waitFor(check, { timeout: 5_000, interval: 10 })
const deadlineExceeded = { name: 'Failure', kind: 'deadline-exceeded', code: 'deadline-exceeded' }
const unavailable = { name: 'Failure', kind: 'unavailable', code: 'unavailable', options: { retryAfterSeconds: 1 } }

/** A transaction that keeps its connection until it is let go. */
async function hold(database: Database, scope: Scope) {
  const gate = Promise.withResolvers<void>()
  const held = Promise.withResolvers<Queries>()
  const done = database.transaction(scope, async queries => {
    await queries.query(scope, NUMBER, [1])
    held.resolve(queries)
    await gate.promise
  })
  await Promise.race([held.promise, done])
  return { done, release: gate.resolve }
}

/** A Postgres behind a wire that can be cut without a word. @param onConnect told of the ends that are there when another connection comes */
async function proxy(port = 0, onConnect: (sockets: Set<Socket>) => void = () => {}) {
  const target = new URL(db.url)
  const sockets = new Set<Socket>()
  let frozen = false
  const server = createServer(near => {
    onConnect(sockets)
    const far = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('data', chunk => void (frozen || to.write(chunk)))
      from.on('error', () => {})
      from.on('close', () => to.destroy())
    }
  })
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const url = new URL(db.url)
  url.port = String((server.address() as { port: number }).port)
  return {
    url: url.href,
    freeze: () => {
      frozen = true
    },
  }
}

describe('database.query', () => {
  test('gives the rows', async () => {
    const { database, runtime } = open()
    const rows = await database.query(runtime.scope(), statement<{ a: string; b: number }>('two-rows', "values ('x', 1), ('y', 2)"))
    expect(rows).toEqual([
      { column1: 'x', column2: 1 },
      { column1: 'y', column2: 2 },
    ])
    expect(await database.query(runtime.scope(), NUMBER, [7])).toEqual([{ n: 7 }])
  })

  test('prepares a statement once a connection, under its name', async () => {
    const { database, runtime } = open()
    for (const n of [1, 2, 3]) await database.query(runtime.scope(), NUMBER, [n])
    const prepared = statement('prepared', 'select name, generic_plans + custom_plans as used from pg_prepared_statements order by name')
    expect(await database.query(runtime.scope(), prepared)).toEqual([
      { name: 'number', used: 3 },
      { name: 'prepared', used: 1 },
    ])
  })

  test('makes a client span below the scope with the statement and without its values', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope()
    await database.query(scope, INSERT, [1, 'a secret value'])
    const [span] = runtime.spans.getFinishedSpans()
    expect(span).toMatchObject({
      name: 'note-insert',
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': 'postgresql',
        'db.namespace': new URL(db.url).pathname.slice(1),
        'server.address': new URL(db.url).hostname,
        'db.query.summary': 'note-insert',
        'db.query.text': INSERT.text,
      },
      status: { code: SpanStatusCode.UNSET },
    })
    expect(span?.parentSpanContext?.spanId).toBe(scope.span.spanContext().spanId)
    expect(JSON.stringify([span?.attributes, span?.events, span?.links])).not.toContain('a secret value')
  })

  test('a failed statement marks its span by the SQLSTATE alone and passes the error on', async () => {
    const { database, runtime } = open()
    await database.query(runtime.scope(), INSERT, [1, 'a secret value'])
    await expect(database.query(runtime.scope(), INSERT, [1, 'a secret value'])).rejects.toMatchObject({ code: '23505', constraint: 'notes_pkey' })
    const span = runtime.spans.getFinishedSpans().at(-1)
    expect(span).toMatchObject({ attributes: { 'error.type': '23505', 'db.response.status_code': '23505' }, status: { code: SpanStatusCode.ERROR } })
    expect(JSON.stringify([span?.attributes, span?.events, span?.status])).not.toMatch(/secret|duplicate/)
    expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 })
  })

  test('a bigint is a text to other connections of the process', () => {
    expect(pg.types.getTypeParser(pg.types.builtins.INT8)('7')).toBe('7')
  })

  test('a bigint is a number up to 2^53 - 1', async () => {
    const { database, runtime } = open()
    const [row] = await database.query(runtime.scope(), statement<{ n: number }>('safe', 'select 9007199254740991::bigint as n'))
    expect(row?.n).toBe(Number.MAX_SAFE_INTEGER)
  })

  test.each(['9007199254740992', '-9223372036854775808'])('the bigint %s is an error, not rounded, and the connection lives on', async number => {
    const { database, runtime } = open()
    const unsafe = database.query(runtime.scope(), statement('unsafe', `select '${number}'::bigint`))
    await expect(unsafe).rejects.toThrow(new RangeError('a bigint exceeds 2^53'))
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
    expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 })
  })

  test.each([
    ['40001', unavailable],
    ['40P01', unavailable],
    ['53300', unavailable],
    ['53400', unavailable],
    ['57P01', unavailable],
    ['08006', unavailable],
    ['57014', deadlineExceeded],
    ['55P03', deadlineExceeded],
  ])('SQLSTATE %s becomes %o', async (sqlstate, problem) => {
    const { database, runtime } = open()
    const raise = statement('raise', `do $$ begin raise exception using errcode = '${sqlstate}'; end $$`)
    await expect(database.query(runtime.scope(), raise)).rejects.toMatchObject({ ...problem, cause: { code: sqlstate } })
  })
})

describe('the deadline', () => {
  test('passing in the middle of a statement is 504, and the pool has its slot back', async () => {
    const { database, runtime } = open()
    await expect(database.query(runtime.scope(100), SLEEP)).rejects.toMatchObject(deadlineExceeded)
    expect(database.stats()).toEqual({ total: 0, idle: 0, waiting: 0 })
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
  })

  test('passing in the middle of a transaction is 504, rolls back and gives the slot back', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope(200)
    const late = database.transaction(scope, async queries => {
      await queries.query(scope, INSERT, [1, 'late'])
      await queries.query(scope, SLEEP)
    })
    await expect(late).rejects.toMatchObject(deadlineExceeded)
    expect(database.stats().total).toBe(0)
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
    expect(await notes()).toEqual([])
  })

  test('spent before the start takes no connection', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope(1)
    await soon(() => expect(scope.deadline.signal.aborted).toBe(true))
    await expect(database.query(scope, NUMBER, [1])).rejects.toMatchObject(deadlineExceeded)
    await expect(database.transaction(scope, async () => {})).rejects.toMatchObject(deadlineExceeded)
    expect(database.stats().total).toBe(0)
  })

  test('holds against a server that no longer answers', async () => {
    const wire = await proxy()
    const { database, runtime } = open({ url: wire.url })
    await database.query(runtime.scope(), NUMBER, [1])
    wire.freeze()
    await expect(database.query(runtime.scope(100), NUMBER, [1])).rejects.toMatchObject(deadlineExceeded)
    expect(database.stats().total).toBe(0)
  })

  test('holds while a connection is made', async () => {
    const wire = await proxy()
    wire.freeze()
    const { database, runtime } = open({ url: wire.url, statementTimeoutMs: 600 })
    await expect(database.query(runtime.scope(100), NUMBER, [1])).rejects.toMatchObject(deadlineExceeded)
    await soon(() => expect(database.stats()).toEqual({ total: 0, idle: 0, waiting: 0 }))
  })

  test('passing while a statement waits ends it on the server as well', async () => {
    const { database, runtime, sessions } = open({ statementTimeoutMs: 120_000 })
    await db.sql("insert into notes values (1, 'a')")
    const holder = new pg.Client({ connectionString: db.url })
    await holder.connect()
    await holder.query('begin; select from notes for update')
    onTestFinished(() => holder.end())
    const update = statement('update-notes', "update notes set text = 'b'")
    await expect(database.query(runtime.scope(300), update)).rejects.toMatchObject({ code: 'deadline-exceeded' })
    await vi.waitFor(async () => expect(await sessions('transactionid')).toBe(0), { timeout: 10_000, interval: 20 })
    await holder.query('commit')
    expect(await db.sql('select text from notes')).toEqual([{ text: 'a' }])
  })

  test('of the pool bounds a statement without a nearer one', async () => {
    const { database, runtime } = open({ statementTimeoutMs: 500 })
    await expect(database.query(runtime.scope(), SLEEP)).rejects.toMatchObject({ ...deadlineExceeded, cause: { code: '57014' } })
    expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 })
  })
})

describe('database.transaction', () => {
  test('commits and gives what the work gave', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope()
    const result = await database.transaction(scope, async queries => {
      await queries.query(scope, INSERT, [1, 'one'])
      await queries.query(scope, INSERT, [2, 'two'])
      expect(await notes()).toEqual([])
      return 'done'
    })
    expect(result).toBe('done')
    expect(await notes()).toEqual([
      { id: 1, text: 'one' },
      { id: 2, text: 'two' },
    ])
  })

  test.each([
    ['a problem', new Failure('conflict', 'conflict', 'No')],
    ['any other error', new Error('boom')],
  ])('rolls back and passes on %s that the work throws', async (_name, error) => {
    const { database, runtime } = open()
    const scope = runtime.scope()
    const failed = database.transaction(scope, async queries => {
      await queries.query(scope, INSERT, [1, 'one'])
      throw error
    })
    await expect(failed).rejects.toBe(error)
    expect(await notes()).toEqual([])
    await database.query(runtime.scope(), INSERT, [2, 'after'])
    expect(await notes()).toEqual([{ id: 2, text: 'after' }])
    expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 })
  })

  test('does what waits for the commit once it is there, in order', async () => {
    const { database, runtime } = open({ poolSize: 2 })
    const seen: unknown[] = []
    const done = await database.transaction(runtime.scope(), async tx => {
      for (const name of ['first', 'second']) tx.afterCommit(() => void seen.push(name))
      await tx.query(runtime.scope(), INSERT, [1, 'one'])
      expect(seen).toEqual([])
      return 'done'
    })
    expect([done, ...seen]).toEqual(['done', 'first', 'second'])
  })

  test.each([
    ['throws', async () => Promise.reject(new Error('boom'))],
    ['swallowed the error of a statement', async (tx: Queries, scope: Scope) => tx.query(scope, INSERT, ['x', '']).catch(() => {})],
  ])('does nothing of what waits for the commit when the work %s', async (_name, work) => {
    const { database, runtime } = open()
    const afterwards = vi.fn()
    const scope = runtime.scope()
    const failed = database.transaction(scope, async tx => {
      tx.afterCommit(afterwards)
      await work(tx, scope)
    })
    await expect(failed).rejects.toThrow()
    expect(afterwards).not.toHaveBeenCalled()
  })

  test('does not commit once its time is spent, although no timer has told so yet', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope(100)
    const work = database.transaction(scope, async tx => {
      await tx.query(scope, INSERT, [1, 'a'])
      const until = performance.now() + 150
      while (performance.now() < until);
    })
    await expect(work).rejects.toMatchObject(deadlineExceeded)
    await soon(async () => expect(database.stats().waiting).toBe(0))
    expect(await notes()).toEqual([])
  })

  test('does not pass for committed when the work swallowed the error of a statement', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope()
    const swallowed = database.transaction(scope, async queries => {
      await queries.query(scope, INSERT, [1, 'one'])
      await queries.query(scope, INSERT, [1, 'again']).catch(() => {})
    })
    await expect(swallowed).rejects.toThrow('rolled back')
    expect(await notes()).toEqual([])
  })

  const SETTINGS = statement<{ name: string; setting: string }>(
    'settings',
    "select name, setting from pg_settings where name in ('statement_timeout', 'lock_timeout') order by name",
  )
  const settings = async (queries: Queries, scope: Scope) => {
    const rows = await queries.query(scope, SETTINGS)
    return Object.fromEntries(rows.map(({ name, setting }) => [name, Number(setting)])) as { lock_timeout: number; statement_timeout: number }
  }

  test('limits statements and locks to what is left of the deadline, for itself alone', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope(3_000)
    const inside = await database.transaction(scope, queries => settings(queries, scope))
    expect(inside.statement_timeout).toBe(inside.lock_timeout)
    expect(inside.statement_timeout).toBeLessThanOrEqual(3_000)
    expect(inside.statement_timeout).toBeGreaterThanOrEqual(scope.deadline.remainingMs())
    expect(await settings(database, scope)).toEqual({ statement_timeout: 5_000, lock_timeout: 0 })
  })

  test('limits them to a minute without a near deadline', async () => {
    const { database, runtime } = open()
    const scope = runtime.scope()
    const endless = { ...scope, deadline: { ...scope.deadline, remainingMs: () => Number.POSITIVE_INFINITY } }
    expect(await database.transaction(endless, queries => settings(queries, scope))).toEqual({ statement_timeout: 60_000, lock_timeout: 60_000 })
  })

  test('a lock that others keep is 504', async () => {
    await db.sql("insert into notes values (1, 'locked')")
    const { database, runtime } = open({ poolSize: 2 })
    const scope = runtime.scope()
    const lock = statement('note-lock', 'select 1 from notes where id = 1 for update')
    await database.transaction(scope, async queries => {
      await queries.query(scope, lock)
      const other = runtime.scope(150)
      await expect(database.transaction(other, inner => inner.query(other, lock))).rejects.toMatchObject(deadlineExceeded)
    })
  })
})

describe('a caller that gives up', () => {
  test('while a statement changes something does not stop what follows', async () => {
    const { database, runtime, sessions } = open()
    const { cancellation, cancel } = createCancellation()
    const scope = { ...runtime.scope(), cancellation }
    await db.sql("insert into notes values (1, 'a')")
    const holder = new pg.Client({ connectionString: db.url })
    await holder.connect()
    await holder.query('begin; select from notes for update')
    const updating = database.query(scope, statement('update-notes', "update notes set text = 'b'"))
    await vi.waitFor(async () => expect(await sessions('transactionid')).toBe(1), { timeout: 10_000, interval: 20 })
    cancel()
    await holder.end()
    await updating
    expect(await database.query(scope, statement('all-notes', 'select text from notes'))).toEqual([{ text: 'b' }])
  })

  const CHANGE = 'insert into notes (id, text) values (1, $1)'
  test.each([
    ['a statement that changes something', CHANGE],
    ['a SELECT with a part that changes something', `with changed as (${CHANGE} returning id) select id from changed`],
  ])('after %s does not stop what follows', async (_name, text) => {
    const { database, runtime } = open()
    const { cancellation, cancel } = createCancellation()
    const scope = { ...runtime.scope(), cancellation }
    await database.query(scope, statement('change', text), ['a'])
    cancel()
    expect(await database.query(scope, statement('all-notes', 'select id from notes'))).toEqual([{ id: 1 }])
  })

  test('after a statement that reads stops what follows', async () => {
    const { database, runtime } = open()
    const { cancellation, cancel } = createCancellation()
    const scope = { ...runtime.scope(), cancellation }
    await database.query(scope, statement('all-notes', 'select id from notes'))
    cancel()
    await expect(database.query(scope, statement('change', CHANGE), ['a'])).rejects.toBeInstanceOf(Cancelled)
    expect(await db.sql('select 1 from notes')).toEqual([])
  })
})

describe('a full pool', () => {
  test('whose waiter is abandoned gets that connection back', async () => {
    const { database, runtime } = open()
    const { done, release } = await hold(database, runtime.scope())
    await expect(database.query(runtime.scope(50), NUMBER, [1])).rejects.toMatchObject(deadlineExceeded)
    await expect(database.query(runtime.scope(50), NUMBER, [1])).rejects.toMatchObject(deadlineExceeded)
    expect(database.stats()).toEqual({ total: 1, idle: 0, waiting: 2 })
    release()
    await done
    await soon(() => expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 }))
    expect(await database.query(runtime.scope(), NUMBER, [2])).toEqual([{ n: 2 }])
  })

  test('serves its waiters when a connection is free', async () => {
    const { database, runtime } = open()
    const { done, release } = await hold(database, runtime.scope())
    const waiting = database.query(runtime.scope(), NUMBER, [3])
    release()
    expect(await waiting).toEqual([{ n: 3 }])
    await done
  })

  test('shows in the metrics', async () => {
    const { database, runtime } = open({ poolSize: 2 })
    const state = (name: string) => runtime.metric(`db_client_connection_count{state="${name}"}`)
    const first = await hold(database, runtime.scope())
    expect([await state('used'), await state('idle'), await state('pending')]).toEqual([1, 0, 0])
    const second = await hold(database, runtime.scope())
    const waiting = database.query(runtime.scope(), NUMBER, [1])
    expect([await state('used'), await state('idle'), await state('pending')]).toEqual([2, 0, 1])
    first.release()
    second.release()
    await Promise.all([first.done, second.done, waiting])
    expect([await state('used'), await state('idle'), await state('pending')]).toEqual([0, 2, 0])
  })
})

describe('database.warm', () => {
  test('opens the whole pool, and no connection of it twice', async () => {
    const { database, sessions } = open({ poolSize: 3 })
    for (const _ of [1, 2]) {
      await database.warm()
      expect(database.stats()).toEqual({ total: 3, idle: 3, waiting: 0 })
      expect(await sessions()).toBe(3)
    }
  })

  test('leaves a pool that opens its connections when it cannot reach the database now', async () => {
    const port = await freePort()
    const target = new URL(db.url)
    target.port = String(port)
    const { database, runtime } = open({ url: target.href, poolSize: 3 })
    await database.warm()
    expect(database.stats()).toEqual({ total: 0, idle: 0, waiting: 0 })
    await proxy(port)
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
  })

  test('waits no longer than one statement may for a server that does not answer', async () => {
    const wire = await proxy()
    wire.freeze()
    const { database, runtime } = open({ url: wire.url, statementTimeoutMs: 100, poolSize: 3 })
    await database.warm()
    expect(database.stats().total).toBe(0)
    expect(runtime.lines).toContainEqual(expect.objectContaining({ level: 'warn', opened: 0, of: 3 }))
  })

  test('loses no more than the connection that breaks while others are opened', async () => {
    let connections = 0
    const cutFirst = (sockets: Set<Socket>) => {
      if (++connections === 2) for (const socket of sockets) socket.destroy()
    }
    const { database, runtime } = open({ url: (await proxy(0, cutFirst)).url, poolSize: 3 })
    await database.warm()
    expect(database.stats()).toEqual({ total: 2, idle: 2, waiting: 0 })
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
  })
})

describe('a lost connection', () => {
  test('that is refused is 503', async () => {
    const { database, runtime } = open({ url: `postgres://a:b@127.0.0.1:${await freePort()}/c` })
    await expect(database.query(runtime.scope(), NUMBER, [1])).rejects.toMatchObject({ ...unavailable, cause: { code: 'ECONNREFUSED' } })
    expect(database.stats()).toEqual({ total: 0, idle: 0, waiting: 0 })
  })

  test('under a statement is 503, and the next statement has a new one', async () => {
    const { database, runtime, kill, sessions } = open()
    const lost = expect(database.query(runtime.scope(), SLEEP)).rejects.toMatchObject(unavailable)
    await soon(async () => expect(await sessions('PgSleep')).toBe(1))
    await kill()
    await lost
    expect(database.stats().total).toBe(0)
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
  })

  test('between two statements of a transaction is 503, and nothing is committed', async () => {
    const { database, runtime, kill } = open()
    const scope = runtime.scope()
    const lost = database.transaction(scope, async queries => {
      await queries.query(scope, INSERT, [1, 'lost'])
      await kill()
      await queries.query(scope, INSERT, [2, 'lost'])
    })
    await expect(lost).rejects.toMatchObject(unavailable)
    expect(await notes()).toEqual([])
    await database.query(runtime.scope(), INSERT, [3, 'after'])
    expect(await notes()).toEqual([{ id: 3, text: 'after' }])
  })

  test('that was idle is logged and replaced', async () => {
    const { database, runtime, kill } = open()
    await database.query(runtime.scope(), NUMBER, [1])
    await kill()
    await soon(() => expect(runtime.lines).toEqual([expect.objectContaining({ level: 'warn', msg: 'database connection lost' })]))
    expect(database.stats().total).toBe(0)
    expect(await database.query(runtime.scope(), NUMBER, [2])).toEqual([{ n: 2 }])
  })
})

describe('database.listen', () => {
  const listening = ({ name }: Opened) =>
    soon(async () => {
      const rows = await db.sql("select state from pg_stat_activity where application_name = $1 and query like 'listen %'", [name])
      expect(rows).toEqual([{ state: 'idle' }])
    })
  const notify = () => db.sql("select pg_notify('Some channel', '')")

  test('calls for each NOTIFY on its channel', async () => {
    const opened = open()
    const onNotify = vi.fn()
    const listener = opened.database.listen('Some channel', onNotify)
    onTestFinished(listener.close)
    await listening(opened)
    await db.sql("select pg_notify('another', ''), pg_notify('some channel', '')")
    for (const times of [1, 2, 3]) {
      await notify()
      await soon(() => expect(onNotify).toHaveBeenCalledTimes(times))
    }
  })

  test('comes back when its connection is lost', async () => {
    const opened = open()
    const onNotify = vi.fn()
    const listener = opened.database.listen('Some channel', onNotify)
    onTestFinished(listener.close)
    await listening(opened)
    await opened.kill()
    await soon(() => expect(opened.runtime.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: 'listening connection lost' })))
    await listening(opened)
    await notify()
    await soon(() => expect(onNotify).toHaveBeenCalledOnce())
  })

  test('keeps trying while there is no database, and close() ends that', async () => {
    const port = await freePort()
    const { database } = open({ url: `postgres://a:b@127.0.0.1:${port}/c` })
    const connections = vi.fn((socket: Socket) => void socket.destroy())
    const listener = database.listen('c', () => {})
    const server = createServer(connections)
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    await soon(() => expect(connections).toHaveBeenCalled())
    await listener.close()
  })

  test('ends with close(), quietly', async () => {
    const opened = open()
    const onNotify = vi.fn()
    const listener = opened.database.listen('Some channel', onNotify)
    await listening(opened)
    const timers = vi.spyOn(globalThis, 'setTimeout')
    onTestFinished(() => timers.mockRestore())
    await listener.close()
    await soon(async () => expect(await opened.sessions()).toBe(0))
    await notify()
    expect(onNotify).not.toHaveBeenCalled()
    expect(timers.mock.calls.filter(([, ms = 0]) => ms >= 1_000 && ms <= 2_000)).toEqual([])
    expect(opened.runtime.lines).toEqual([])
  })
})

describe('database.ping', () => {
  test('resolves when the database answers', async () => {
    const { database } = open()
    await database.ping(5_000)
    expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 })
  })

  test('rejects when it is not there', async () => {
    const { database } = open({ url: `postgres://a:b@127.0.0.1:${await freePort()}/c` })
    await expect(database.ping(5_000)).rejects.toMatchObject(unavailable)
  })

  test('rejects after its time when it does not answer, and throws the connection away', async () => {
    const wire = await proxy()
    const { database } = open({ url: wire.url })
    await database.ping(5_000)
    wire.freeze()
    await expect(database.ping(100)).rejects.toThrow()
    expect(database.stats().total).toBe(0)
  })

  test('resolves while all connections are lent out and some were answered lately, which is a queue and no failure', async () => {
    const { database, runtime } = open()
    const { done, release } = await hold(database, runtime.scope())
    await database.ping(50)
    expect(database.stats()).toEqual({ total: 1, idle: 0, waiting: 0 })
    release()
    await done
  })

  test('rejects after its time when all connections are lent out and none has been answered for long', async () => {
    const { database, runtime } = open()
    const { done, release } = await hold(database, runtime.scope(60_000))
    const now = performance.now.bind(performance)
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 5_000)
    onTestFinished(() => clock.mockRestore())
    await expect(database.ping(50)).rejects.toMatchObject({ name: 'TimeoutError' })
    release()
    await done
    await soon(() => expect(database.stats()).toEqual({ total: 1, idle: 1, waiting: 0 }))
  })
})

describe('database.close', () => {
  test('waits for statements under way and ends every session', async () => {
    const { database, runtime, sessions } = open({ poolSize: 2 })
    const { done, release } = await hold(database, runtime.scope())
    const under = database.query(runtime.scope(), statement('nap', 'select pg_sleep(0.2)'))
    const ended: string[] = []
    const closed = database.close(10_000).then(() => ended.push('closed'))
    await under.then(() => ended.push('statement'))
    release()
    await done.then(() => ended.push('transaction'))
    await closed
    expect(ended).toEqual(['statement', 'transaction', 'closed'])
    await soon(async () => expect(await sessions()).toBe(0))
  })

  test('is bounded', async () => {
    const { database, runtime } = open()
    const { done, release } = await hold(database, runtime.scope())
    await database.close(50)
    release()
    await done
  })
})

describe('a password that is rotated', () => {
  /** A role of its own whose password a file holds, as a mounted Secret does. */
  const rotating = async () => {
    const role = `role_${randomBytes(6).toString('hex')}`
    await db.sql(`create role ${role} login password 'first'`)
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-database-'))
    onTestFinished(async () => {
      await rm(dir, { recursive: true, force: true })
      await db.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`)
      await db.sql(`drop role ${role}`)
    })
    const file = join(dir, 'url')
    const write = async (password: string) => {
      const url = new URL(db.url)
      url.username = role
      url.password = password
      await writeFile(file, `${url.href}\n`)
    }
    await write('first')
    return {
      file,
      rotate: async () => {
        await db.sql(`alter role ${role} password 'second'`)
        await write('second')
      },
    }
  }

  test('is read from its file at the next connect, by the pool and by what listens', async () => {
    const { file, rotate } = await rotating()
    const { database, runtime, kill, sessions } = open({ url: () => readDatabaseUrl(file) })
    const onNotify = vi.fn()
    const listener = database.listen('rotated', onNotify)
    onTestFinished(listener.close)
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
    await soon(async () => expect(await sessions()).toBe(2))
    await rotate()
    await kill()
    await soon(async () => expect(await database.query(runtime.scope(), NUMBER, [2])).toEqual([{ n: 2 }]))
    await vi.waitFor(
      async () => {
        await db.sql("select pg_notify('rotated', '')")
        expect(onNotify).toHaveBeenCalled()
      },
      { timeout: 10_000, interval: 100 },
    )
  })

  test('stays what it was while the file cannot be read, and the log names the file and not what it holds', async () => {
    const { file } = await rotating()
    const { database, runtime, kill } = open({ url: () => readDatabaseUrl(file) })
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
    await writeFile(file, 'half of a sec')
    await kill()
    await soon(async () => expect(await database.query(runtime.scope(), NUMBER, [2])).toEqual([{ n: 2 }]))
    expect(runtime.lines).toContainEqual(expect.objectContaining({ level: 'warn', reason: expect.stringContaining(`${file} holds no Postgres URL`) }))
    expect(JSON.stringify(runtime.lines)).not.toContain('half of a sec')
  })
})
