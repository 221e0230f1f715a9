import { readdir } from 'node:fs/promises'
import { runner } from 'node-pg-migrate'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { migrate } from '../../services/chassis/data/migrate.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { silentLog } from '../support/runtime.ts'

const dir = 'services/user/migrations'
const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

let db: TestDatabase

beforeAll(async () => {
  db = await testDatabase()
})
afterAll(() => db?.close())

const tables = async () => {
  const rows = await db.sql<{ name: string }>("select table_name as name from information_schema.tables where table_schema = 'public' order by 1")
  return rows.map(row => row.name)
}

describe('services/user/migrations', () => {
  test('run once, whichever of several pods comes first', async () => {
    const all = (await readdir(dir)).map(file => file.replace(/\.sql$/, '')).sort()
    const runs = await Promise.all([1, 2, 3].map(() => migrate({ url: db.url, dir, log: silentLog })))
    expect(runs.flat().sort()).toEqual(all)
  })

  test('go down to nothing and up again', async () => {
    const before = await tables()
    await runner({
      databaseUrl: db.url,
      dir,
      direction: 'down',
      count: Number.POSITIVE_INFINITY,
      migrationsTable: 'migrations',
      log: () => {},
      logger: quiet,
    })
    expect(await tables()).toEqual(['chassis_migrations', 'idempotency_keys', 'migration_checksums', 'migrations', 'outbox'])
    await migrate({ url: db.url, dir, log: silentLog })
    expect(await tables()).toEqual(before)
  })

  test('the schema itself refuses what the code must never do', async () => {
    const userId = newId()
    await db.sql("insert into users (id, email, email_key, name, password_hash) values ($1, 'a@example.org', 'a@example.org', 'Ada', '')", [userId])
    await db.sql("insert into credit_accounts (user_id, limit_amount, currency) values ($1, 100, 'EUR')", [userId])
    const violations: [string, unknown[], string][] = [
      ['update credit_accounts set reserved_amount = 101 where user_id = $1', [userId], '23514'],
      ['update credit_accounts set reserved_amount = -1 where user_id = $1', [userId], '23514'],
      ["insert into users (id, email, email_key, name, password_hash) values ($1, 'A@example.org', 'a@example.org', 'Eve', '')", [newId()], '23505'],
      ["insert into reservations (order_id, state) values ($1, 'reserved')", [newId()], '23514'],
      ["insert into reservations (order_id, state) values ($1, 'held')", [newId()], '23514'],
    ]
    for (const [text, values, code] of violations) await expect(db.sql(text, values), text).rejects.toMatchObject({ code })
  })
})
