import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { migrate } from '../../../services/chassis/data/migrate.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { testRuntime } from '../../support/runtime.ts'

const STOCK = 'test/support/acme/services/stock/migrations'
const STOCK_MIGRATIONS = ['001_items', '002_titles']
const { log } = testRuntime()

let db: TestDatabase

beforeEach(async () => {
  db = await testDatabase()
  return db.close
})

const up = (sql: string) => `-- Up Migration\n${sql}\n-- Down Migration\n`

/** A folder of migrations, to which more can be added. */
async function folder(files: Record<string, string>) {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-migrate-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const add = async (more: Record<string, string>) => {
    for (const [name, sql] of Object.entries(more)) await writeFile(join(dir, `${name}.sql`), up(sql))
  }
  await add(files)
  return { dir, add }
}

const THREE = {
  '001_first': 'create table first (id int);',
  '002_second': 'create table second (id int); insert into first values (2);',
  '003_third': 'insert into first values (3); select pg_sleep(0.1);',
}

const tables = async () => {
  const rows = await db.sql<{ name: string }>("select table_name as name from information_schema.tables where table_schema = 'public' order by 1")
  return rows.map(({ name }) => name)
}
const ran = async () => (await db.sql<{ name: string }>('select name from migrations order by id')).map(({ name }) => name)

/** A session of its own that has run some statements. */
async function session(...statements: string[]) {
  const client = new pg.Client({ connectionString: db.url })
  await client.connect()
  for (const statement of statements) await client.query(statement)
  return client
}

const waitingForLock = () =>
  vi.waitFor(
    async () =>
      expect(await db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")).not.toEqual([]),
    { timeout: 5_000, interval: 10 },
  )

describe('migrate', () => {
  test("makes the service's tables, and the chassis'", async () => {
    expect(await migrate({ url: db.url, dir: STOCK, log })).toEqual(STOCK_MIGRATIONS)
    const own = ['items', 'migrations']
    expect(await tables()).toEqual([...own, 'chassis_migrations', 'idempotency_keys', 'migration_checksums', 'outbox'].toSorted())
  })

  test('runs each migration once and in order when many start at once on an empty database', async () => {
    const { dir } = await folder(THREE)
    const results = await Promise.all([1, 2, 3, 4, 5].map(() => migrate({ url: db.url, dir, log })))
    expect(results.flat()).toEqual(Object.keys(THREE))
    expect(await ran()).toEqual(Object.keys(THREE))
    expect(await db.sql('select id from first')).toEqual([{ id: 2 }, { id: 3 }])
  })

  test('finds nothing to do the second time', async () => {
    const { dir } = await folder(THREE)
    await migrate({ url: db.url, dir, log })
    expect(await migrate({ url: db.url, dir, log })).toEqual([])
    expect(await db.sql('select id from first')).toEqual([{ id: 2 }, { id: 3 }])
  })

  test('runs what was added since', async () => {
    const { dir, add } = await folder(THREE)
    await migrate({ url: db.url, dir, log })
    await add({ '004_fourth': 'create table fourth (id int);' })
    expect(await migrate({ url: db.url, dir, log })).toEqual(['004_fourth'])
  })

  test('rejects a migration that was put before one that ran', async () => {
    const { dir, add } = await folder(THREE)
    await migrate({ url: db.url, dir, log })
    await add({ '000_late': 'create table late (id int);' })
    await expect(migrate({ url: db.url, dir, log })).rejects.toThrow(/000_late/)
    expect(await tables()).not.toContain('late')
  })

  test('rejects a migration that changed after it ran, and runs nothing', async () => {
    const { dir, add } = await folder(THREE)
    await migrate({ url: db.url, dir, log })
    await add({ '002_second': 'create table second (id int, due date);', '004_fourth': 'create table fourth (id int);' })
    const refused = expect(migrate({ url: db.url, dir, log })).rejects
    await refused.toThrow(new Error('002_second.sql changed after it ran here: restore it, and add a new one for the change'))
    expect(await tables()).not.toContain('fourth')
    await add({ '002_second': THREE['002_second'] })
    expect(await migrate({ url: db.url, dir, log })).toEqual(['004_fourth'])
  })

  test('takes a change of line endings, and of what ran before there were checksums or was undone', async () => {
    const { dir, add } = await folder(THREE)
    await migrate({ url: db.url, dir, log })
    const file = join(dir, '003_third.sql')
    await writeFile(file, (await readFile(file, 'utf8')).replaceAll('\n', '\r\n'))
    expect(await migrate({ url: db.url, dir, log })).toEqual([])
    await db.sql("delete from migration_checksums where name = '001_first'")
    await add({ '001_first': 'create table first (id bigint);' })
    expect(await migrate({ url: db.url, dir, log })).toEqual([])
    await db.sql("delete from migrations where name = '003_third'")
    await add({ '003_third': 'insert into first values (33);' })
    expect(await migrate({ url: db.url, dir, log })).toEqual(['003_third'])
    expect(await migrate({ url: db.url, dir, log })).toEqual([])
    await add({ '003_third': THREE['003_third'] })
    await expect(migrate({ url: db.url, dir, log })).rejects.toThrow('003_third.sql changed after it ran here')
  })

  test('rejects a broken file and rolls all of the run back, so that the mended one can run', async () => {
    const { dir, add } = await folder({ ...THREE, '002_second': 'create table second (id int); insert into nowhere values (1);' })
    const { log: noted, lines } = testRuntime()
    await expect(migrate({ url: db.url, dir, log: noted })).rejects.toMatchObject({
      code: '42P01',
      message: '002_second.sql: relation "nowhere" does not exist',
    })
    expect(lines.filter(({ level }) => level === 'error')).toEqual([])
    expect(await tables()).not.toContain('first')
    expect(await tables()).not.toContain('second')
    await add({ '002_second': THREE['002_second'] })
    expect(await migrate({ url: db.url, dir, log })).toEqual(Object.keys(THREE))
  })

  test("gives up when another's migration takes longer than lockWaitMs", async () => {
    const other = await session('select pg_advisory_lock(7236101)')
    await expect(migrate({ url: db.url, dir: STOCK, log, lockWaitMs: 50 })).rejects.toMatchObject({ code: '55P03' })
    expect(await tables()).toEqual([])
    const waiting = migrate({ url: db.url, dir: STOCK, log })
    await waitingForLock()
    await other.end()
    expect(await waiting).toEqual(STOCK_MIGRATIONS)
  })

  test('gives up rather than make requests queue behind a table that is in use', async () => {
    const { dir, add } = await folder(THREE)
    await migrate({ url: db.url, dir, log })
    const reader = await session('begin', 'select * from first')
    await add({ '004_alter': 'alter table first add column name text;' })
    await expect(migrate({ url: db.url, dir, log })).rejects.toMatchObject({ code: '55P03' })
    await reader.end()
    expect(await migrate({ url: db.url, dir, log })).toEqual(['004_alter'])
  })

  test('rejects when the database goes away under it', async () => {
    const { dir } = await folder({ '001_slow': 'create table slow (id int); select pg_sleep(20);' })
    const lost = expect(migrate({ url: db.url, dir, log })).rejects.toThrow()
    await vi.waitFor(
      async () => {
        const killed = await db.sql(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
        )
        expect(killed).toHaveLength(1)
      },
      { timeout: 5_000, interval: 10 },
    )
    await lost
    expect(await tables()).not.toContain('slow')
  })

  test('waits for a database that is still being made', async () => {
    const { log: waiting, lines } = testRuntime()
    const name = `late_${randomBytes(4).toString('hex')}`
    const migrated = migrate({ url: db.url.replace(/[^/]+$/, name), dir: STOCK, log: waiting })
    await vi.waitFor(() => expect(lines).toContainEqual(expect.objectContaining({ code: '3D000', msg: 'the database is not there yet' })), 5_000)
    await db.sql(`create database ${name}`)
    expect(await migrated).toEqual(STOCK_MIGRATIONS)
    await db.sql(`drop database ${name} with (force)`)
  })

  test('rejects when there is no database by the end of the wait', async () => {
    const url = db.url.replace(/[^/]+$/, 'nowhere')
    await expect(migrate({ url, dir: STOCK, log, connectWaitMs: 300 })).rejects.toMatchObject({ code: '3D000' })
  })

  test('rejects at once what no wait can mend', async () => {
    await db.sql(`alter database ${new URL(db.url).pathname.slice(1)} connection limit 0`)
    const asNobody = Object.assign(new URL(db.url), { username: 'nobody', password: 'x' })
    await db.sql("do $$ begin create role nobody login password 'x'; exception when duplicate_object then null; end $$")
    await expect(migrate({ url: asNobody.href, dir: STOCK, log })).rejects.toMatchObject({ code: '53300' })
  })
})
