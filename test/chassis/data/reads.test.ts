import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Database, openDatabase } from '../../../services/chassis/data/database.ts'
import { isRead } from '../../../services/chassis/data/reads.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

let db: TestDatabase
let count = 0

beforeAll(async () => {
  db = await testDatabase()
  await db.sql('create table marks (id int primary key)')
  await db.sql(`create function nap(seconds float, value int) returns int language sql as 'select value from pg_sleep(seconds)'`)
  await db.sql(`create function mark(id int) returns int language sql as 'insert into marks values (id) returning id'`)
})
afterAll(() => db?.close())

/** A pool of 10 has three shared connections, one of 4 has one. */
function open(poolSize = 10, url: string | (() => string) = db.url): { database: Database; runtime: TestRuntime; name: string } {
  const name = `reads-${++count}`
  const runtime = testRuntime()
  const database = openDatabase({ ...runtime, url, service: name, poolSize, statementTimeoutMs: 10_000 })
  onTestFinished(() => database.close(1_000).catch(() => {}))
  return { database, runtime, name }
}

const PORT = statement<{ port: number }>('port', 'select inet_client_port() as port')
const NAP = statement<{ value: number }>('nap', 'select nap($1, $2) as value')
const NUMBER = statement<{ n: number }>('number', 'select $1::int as n')
const DIVIDE = statement('divide', 'select 1 / $1::int')
const MARK = statement<{ id: number }>('mark', 'select mark($1) as id')
const OWN_PORT = statement<{ port: number }>('own-port', 'select inet_client_port() as port for update')

const sessions = (name: string) =>
  db.sql<{ pid: number; state: string; query: string }>('select pid, state, query from pg_stat_activity where application_name = $1 order by pid', [
    name,
  ])
const asleep = async (name: string) => (await sessions(name)).filter(({ state, query }) => state === 'active' && query.includes('nap')).length

describe('statements that only read', () => {
  test('share three of ten connections, whatever is under way', async () => {
    const { database, runtime } = open()
    await database.warm()
    expect(database.stats()).toEqual({ total: 10, idle: 10, waiting: 0 })
    const rows = await Promise.all(Array.from({ length: 60 }, () => database.query(runtime.scope(), PORT)))
    expect(new Set(rows.map(([row]) => row?.port)).size).toBe(3)
  })

  test('get their own rows', async () => {
    const { database, runtime } = open(4)
    await database.warm()
    const rows = await Promise.all(Array.from({ length: 100 }, (_, n) => database.query(runtime.scope(), NUMBER, [n])))
    expect(rows.map(([row]) => row?.n)).toEqual(Array.from({ length: 100 }, (_, n) => n))
  })

  test('have connections of their own while none is shared: the pool is too small, or not open yet', async () => {
    const small = open(3)
    expect(await small.database.query(small.runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
    const cold = open(10)
    expect(await cold.database.query(cold.runtime.scope(), NUMBER, [2])).toEqual([{ n: 2 }])
    await vi.waitFor(() => expect(cold.database.stats().total).toBe(4))
  })

  test('fail alone', async () => {
    const { database, runtime } = open(4)
    await database.warm()
    const all = await Promise.allSettled([
      database.query(runtime.scope(), NUMBER, [1]),
      database.query(runtime.scope(), DIVIDE, [0]),
      database.query(runtime.scope(), NUMBER, [2]),
    ])
    expect(all).toMatchObject([{ value: [{ n: 1 }] }, { reason: { code: '22012' } }, { value: [{ n: 2 }] }])
    expect(database.stats().total).toBe(4)
  })

  test('do not stand behind a slow one', async () => {
    const { database, runtime } = open(4)
    await database.warm()
    const slow = database.query(runtime.scope(), NAP, [2, 7])
    await new Promise(resolve => setTimeout(resolve, 50))
    let isAsleep = true
    void slow.then(() => {
      isAsleep = false
    })
    for (let n = 0; n < 5; n++) await database.query(runtime.scope(), NUMBER, [n])
    expect(isAsleep).toBe(true)
    expect(await slow).toEqual([{ value: 7 }])
  })

  test('that write after all are refused there, and done', async () => {
    const { database, runtime } = open(4)
    await database.warm()
    expect(await database.query(runtime.scope(), MARK, [1])).toEqual([{ id: 1 }])
    expect(await db.sql('select id from marks')).toEqual([{ id: 1 }])
  })

  test('are read-only also where the URL has options of its own', async () => {
    const { database, runtime } = open(4, `${db.url}?options=-c%20search_path%3Dpublic`)
    await database.warm()
    const setting = statement<{ value: string }>(
      'setting',
      "select current_setting('default_transaction_read_only') || ' ' || current_setting('search_path') as value",
    )
    expect(await database.query(runtime.scope(), setting)).toEqual([{ value: 'on public' }])
  })

  test('go on over connections of their own while the URL is one that pg cannot read', async () => {
    let url = db.url
    const { database, runtime, name } = open(4, () => url)
    await database.warm()
    url = `${db.url}?sslrootcert=/nowhere.crt`
    await db.sql('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [name])
    await vi.waitFor(() => expect(database.stats().total).toBe(0))
    await expect(database.query(runtime.scope(), NUMBER, [1])).rejects.toThrow()
    url = db.url
    expect(await database.query(runtime.scope(), NUMBER, [1])).toEqual([{ n: 1 }])
  })

  test('are repeated over another connection when theirs is lost', async () => {
    const { database, runtime, name } = open(4)
    await database.warm()
    const naps = [1, 2].map(n => database.query(runtime.scope(), NAP, [0.5, n]))
    await vi.waitFor(async () => expect(await asleep(name)).toBe(1))
    await db.sql(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1 and query like '%nap%'`, [name])
    expect(await Promise.all(naps)).toEqual([[{ value: 1 }], [{ value: 2 }]])
    expect(await database.query(runtime.scope(), NUMBER, [3])).toEqual([{ n: 3 }])
    await vi.waitFor(() => expect(database.stats().total).toBe(4))
  })
})

describe('a read whose deadline has passed', () => {
  test('is cancelled, its neighbours are answered, and the connection lives on', async () => {
    const { database, runtime, name } = open(4)
    await database.warm()
    const before = (await sessions(name)).map(({ pid }) => pid)
    const late = database.query(runtime.scope(300), NAP, [20, 1])
    const neighbours = [1, 2, 3].map(n => database.query(runtime.scope(8_000), NUMBER, [n]))
    await expect(late).rejects.toMatchObject({ code: 'deadline-exceeded' })
    expect(await Promise.all(neighbours)).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]])
    await vi.waitFor(async () => expect(await asleep(name)).toBe(0))
    expect((await sessions(name)).map(({ pid }) => pid)).toEqual(before)
  })

  test('behind another one is answered to nobody, and is cancelled when its turn comes', async () => {
    const { database, runtime, name } = open(4)
    await database.warm()
    const first = database.query(runtime.scope(), NAP, [1, 1])
    const late = database.query(runtime.scope(200), NAP, [20, 2])
    const last = database.query(runtime.scope(), NUMBER, [3])
    await expect(late).rejects.toMatchObject({ code: 'deadline-exceeded' })
    expect(await first).toEqual([{ value: 1 }])
    expect(await last).toEqual([{ n: 3 }])
    await vi.waitFor(async () => expect(await asleep(name)).toBe(0))
  })

  test('spent before it began takes no connection', async () => {
    const { database, runtime } = open(4)
    await database.warm()
    const scope = runtime.scope(1)
    await new Promise(resolve => setTimeout(resolve, 20))
    await expect(database.query(scope, NUMBER, [1])).rejects.toMatchObject({ code: 'deadline-exceeded' })
  })
})

test('statements that lock have connections of their own', async () => {
  const { database, runtime } = open()
  await database.warm()
  const shared = new Set((await Promise.all(Array.from({ length: 60 }, () => database.query(runtime.scope(), PORT)))).map(([row]) => row?.port))
  const [own] = await database.query(runtime.scope(), OWN_PORT)
  expect(shared).not.toContain(own?.port)
})

test('close() ends every session', async () => {
  const { database, runtime, name } = open()
  await database.warm()
  const under = database.query(runtime.scope(), NAP, [0.3, 1])
  await database.close(5_000)
  expect(await under).toEqual([{ value: 1 }])
  await vi.waitFor(async () => expect(await sessions(name)).toEqual([]))
})

describe('isRead', () => {
  test.each(['select 1', '  SELECT a from b where c = $1', 'select a from b where updated > $1 order by shared', 'select pg from t'])('%s', text =>
    expect(isRead(text)).toBe(true),
  )
  test.each([
    'insert into a values (1)',
    'with x as (insert into a values (1) returning id) select id from x',
    'select a from b for update',
    'select a from b FOR NO KEY UPDATE',
    'select a from b for share skip locked',
    'select a from b for key share',
    'select a into c from b',
    "select nextval('a')",
    "select pg_notify('a', '')",
    'select pg_try_advisory_xact_lock(1)',
    'select pg_sleep(20)',
    'values (1)',
    "select set_config('a', 'b', false)",
    'update a set b = 1',
  ])('not %s', text => expect(isRead(text)).toBe(false))
})
