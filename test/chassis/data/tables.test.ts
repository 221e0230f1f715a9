import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { beforeEach, describe, expect, inject, test } from 'vitest'
import { newId } from '../../../services/chassis/contract/ids.ts'
import { openDatabase } from '../../../services/chassis/data/database.ts'
import { claimKey, recordAnswer, recordKey } from '../../../services/chassis/data/idempotency.ts'
import { dequeue, enqueue } from '../../../services/chassis/data/messages.ts'
import { migrate } from '../../../services/chassis/data/migrate.ts'
import { makeTables } from '../../../services/chassis/data/tables.ts'
import { asSuperuser, ensureDatabase, type Postgres } from '../../../services/chassis/local/postgres.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { testRuntime } from '../../support/runtime.ts'

const STEPS = ['001_idempotency_keys', '002_outbox', '003_migration_checksums']
const TABLES = ['chassis_migrations', 'idempotency_keys', 'migration_checksums', 'outbox']

let db: TestDatabase

beforeEach(async () => {
  db = await testDatabase()
  return db.close
})

async function make(url = db.url) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return makeTables(client).finally(() => client.end())
}

const tables = async () => {
  const rows = await db.sql<{ name: string }>("select table_name as name from information_schema.tables where table_schema = 'public' order by 1")
  return rows.map(({ name }) => name)
}

describe('makeTables', () => {
  test('makes each table once and records its step', async () => {
    expect(await make()).toEqual(STEPS)
    expect(await tables()).toEqual(TABLES)
    expect(await make()).toEqual([])
    expect(await db.sql('select name from chassis_migrations order by name')).toEqual(STEPS.map(name => ({ name })))
  })

  test("takes a table that the service's migrations made, with its rows, and adds what it lacks", async () => {
    await make()
    await db.sql('drop table chassis_migrations; drop index outbox_due; alter table outbox add column note text')
    const id = newId()
    await db.sql(`insert into outbox (id, kind, subject_id, payload, due_at) values ($1, 'greet', $1, '{}', now())`, [id])
    expect(await make()).toEqual(STEPS)
    expect(await db.sql('select id from outbox')).toEqual([{ id }])
    expect(await db.sql("select 1 from pg_indexes where indexname = 'outbox_due'")).toHaveLength(1)
  })

  const OTHER =
    "the table outbox has other columns than the chassis', which keeps there commands that have not reached their service yet; rename yours: "
  test.each([
    ['lacks columns', 'alter table outbox drop column due_at, drop column traceparent', 'traceparent is missing, due_at is missing'],
    ['has another type', 'alter table outbox alter payload type text', 'payload is text not null, not jsonb not null'],
    ['takes null', 'alter table outbox alter due_at drop not null', 'due_at is timestamp with time zone, not timestamp with time zone not null'],
    ['wants a value for another column', 'alter table outbox add column topic text not null', 'topic is not known and wants a value'],
  ])('refuses in one line a table of that name that %s, and leaves the database as it was', async (_name, change, says) => {
    await make()
    await db.sql('drop table chassis_migrations, idempotency_keys, migration_checksums')
    await db.sql(change)
    await expect(make()).rejects.toThrow(new Error(OTHER + says))
    expect(await tables()).toEqual(['outbox'])
  })
})

describe('migrate', () => {
  const dir = 'test/support/acme/services/stock/migrations'
  const { log } = testRuntime()

  test('makes them once, whichever of several pods comes first', async () => {
    const { log, lines } = testRuntime()
    await Promise.all([1, 2, 3].map(() => migrate({ url: db.url, dir, log })))
    expect(lines.filter(({ made }) => made)).toEqual([expect.objectContaining({ made: STEPS })])
  })

  test("makes them before the service's, and none of the service's when they are refused", async () => {
    await db.sql('create table outbox (id uuid primary key)')
    await expect(migrate({ url: db.url, dir, log })).rejects.toThrow(/^the table outbox has other columns/)
    expect(await tables()).toEqual(['outbox'])
  })

  test('as the owner makes tables in which the serving role reads and writes rows, and which it cannot change', async () => {
    const name = `tables_${randomBytes(4).toString('hex')}`
    const postgres = { url: (database: string) => inject('postgresUrl') + database } as Postgres
    const { url, ownerUrl } = await ensureDatabase(postgres, name, { password: 'serves', ownerPassword: 'owns' })
    await migrate({ url: ownerUrl, dir, log })
    const runtime = testRuntime()
    const database = openDatabase({ ...runtime, url, service: 'test', statementTimeoutMs: 5_000 })
    try {
      const scope = runtime.scope()
      const subjectId = newId()
      const request = { owner: 'ada', key: 'k', fingerprint: Buffer.from('f') }
      await database.transaction(scope, async tx => {
        await recordKey(tx, scope, { ...request, subjectId, aliveMs: 1_000 })
        await enqueue(tx, scope, { id: newId(), kind: 'greet', subjectId, payload: {}, leaseMs: 0 })
      })
      await dequeue(database, scope, subjectId, 'greet')
      const answer = { status: 201, body: '{}', location: null }
      await recordAnswer(database, scope, 'ada', 'k', answer)
      expect(await database.transaction(scope, tx => claimKey(tx, scope, request))).toEqual({ kind: 'answered', answer })
      await expect(make(url)).rejects.toMatchObject({ code: '42501' })
      for (const statement of ['drop table outbox', 'alter table idempotency_keys add column x int', 'create table mine (id int)'])
        await expect(asRole(url, statement), statement).rejects.toMatchObject({ code: '42501' })
    } finally {
      await database.close(5_000)
      await asSuperuser(postgres, 'postgres', async client => {
        await client.query(`drop database ${name} with (force)`)
        await client.query(`drop role ${name}; drop role "${name}-owner"`)
      })
    }
  })
})

async function asRole(url: string, statement: string) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return client.query(statement).finally(() => client.end())
}
