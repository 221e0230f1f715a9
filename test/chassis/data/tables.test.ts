import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { newId } from '../../../services/chassis/contract/ids.ts'
import { openDatabase } from '../../../services/chassis/data/database.ts'
import { claimKey, recordAnswer, recordKey } from '../../../services/chassis/data/idempotency.ts'
import { dequeue, draftOf, enqueue } from '../../../services/chassis/data/messages.ts'
import { migrate } from '../../../services/chassis/data/migrate.ts'
import { STEPS } from '../../../services/chassis/data/table-steps.ts'
import { makeTables } from '../../../services/chassis/data/tables.ts'
import { asSuperuser, ensureDatabase, type Postgres } from '../../../services/chassis/local/postgres.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { testRuntime } from '../../support/runtime.ts'

const NAMES = ['001_idempotency_keys', '002_outbox', '003_migration_checksums', '004_outbox_order']
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

const OUTBOX = STEPS.find(({ name }) => name === '002_outbox')?.ddl as string

/** As a pod of the version before writes a message. */
const writeOld = (id: string, subjectId: string, { kind = 'greet', due = '0 seconds' } = {}) =>
  db.sql(`insert into outbox (id, kind, subject_id, payload, traceparent, due_at) values ($1, $2, $3, '{}', null, now() + $4::interval)`, [
    id,
    kind,
    subjectId,
    due,
  ])

const tables = async () => {
  const rows = await db.sql<{ name: string }>("select table_name as name from information_schema.tables where table_schema = 'public' order by 1")
  return rows.map(({ name }) => name)
}

describe('makeTables', () => {
  test('makes each table once and records its step', async () => {
    expect(await make()).toEqual(NAMES)
    expect(await tables()).toEqual(TABLES)
    expect(await make()).toEqual([])
    expect(await db.sql('select name from chassis_migrations order by name')).toEqual(NAMES.map(name => ({ name })))
  })

  test("takes a table that the service's migrations made, with its rows, and adds what it lacks", async () => {
    await db.sql(`${OUTBOX}; drop index outbox_due; alter table outbox add column note text`)
    const id = newId()
    await writeOld(id, id)
    expect(await make()).toEqual(NAMES)
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
    await db.sql(`${OUTBOX}; ${change}`)
    await expect(make()).rejects.toThrow(new Error(OTHER + says))
    expect(await tables()).toEqual(['outbox'])
  })
})

describe('makeTables on a database with messages of the version before', () => {
  const [subject, other] = [newId(), newId()]
  const [first, second, third, fourth] = [newId(), newId(), newId(), newId()] as const
  const messages = () => db.sql('select id, version, sequence::int from outbox order by subject_id, sequence')

  beforeEach(async () => {
    await db.sql(OUTBOX)
    await db.sql('create table chassis_migrations (name text primary key, run_on timestamptz not null default now())')
    await db.sql(`insert into chassis_migrations (name) values ('002_outbox')`)
    // Neither in the order of their ids nor in that of their times.
    await writeOld(second, subject, { kind: 'release', due: '1 second' })
    await writeOld(first, subject, { due: '2 seconds' })
    await writeOld(third, other)
  })

  test('numbers those of each subject in the order of their ids, and keeps what else they say', async () => {
    const before = await db.sql('select * from outbox order by id')
    await make()
    expect(await messages()).toEqual([
      { id: first, version: 1, sequence: 1 },
      { id: second, version: 1, sequence: 2 },
      { id: third, version: 1, sequence: 1 },
    ])
    expect(await db.sql('select * from outbox order by id')).toEqual(before.map(row => expect.objectContaining(row)))
  })

  test('lets pods of that version go on: what they write is numbered, and what they claim, put back and remove is theirs', async () => {
    await make()
    await writeOld(fourth, subject)
    expect((await messages()).map(({ id }) => id)).toEqual([first, second, fourth, third])
    const claim = `update outbox set attempts = attempts + 1, due_at = now() + interval '6 seconds'
      where id in (select id from outbox where parked_at is null and due_at <= now() order by due_at limit 20 for update skip locked)
      returning id, kind, subject_id as "subjectId", payload, attempts, traceparent`
    await db.sql(`update outbox set due_at = now()`)
    expect(await db.sql(claim)).toHaveLength(4)
    await db.sql('update outbox set due_at = now(), last_error = $2 where id = $1 and parked_at is null', [second, 'timeout'])
    expect(await db.sql('delete from outbox where id = $1 returning id', [first])).toEqual([{ id: first }])
    await db.sql(`delete from outbox where subject_id = $1 and kind = 'release'`, [subject])
    expect((await messages()).map(({ id }) => id)).toEqual([fourth, third])
  })

  test('waits for what such a pod is just writing, and numbers it too', async () => {
    const writer = new pg.Client({ connectionString: db.url })
    await writer.connect()
    await writer.query('begin')
    await writer.query(`insert into outbox (id, kind, subject_id, payload, due_at) values ($1, 'part', $2, '{}', now())`, [fourth, subject])
    const making = make()
    await vi.waitFor(
      async () =>
        expect(
          await db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'relation'"),
        ).toHaveLength(1),
      {
        timeout: 5_000,
        interval: 10,
      },
    )
    await writer.query('commit').finally(() => writer.end())
    await making
    expect((await messages()).map(({ id }) => id)).toEqual([first, second, fourth, third])
  })
})

describe('migrate', () => {
  const dir = 'test/support/acme/services/stock/migrations'
  const { log } = testRuntime()

  test('makes them once, whichever of several pods comes first', async () => {
    const { log, lines } = testRuntime()
    await Promise.all([1, 2, 3].map(() => migrate({ url: db.url, dir, log })))
    expect(lines.filter(({ made }) => made)).toEqual([expect.objectContaining({ made: NAMES })])
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
        await enqueue(tx, scope, draftOf(scope, { id: newId(), kind: 'greet', version: 1, subjectId, payload: {}, leaseMs: 0 }))
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
