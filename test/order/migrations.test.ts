import { runner } from 'node-pg-migrate'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { migrate } from '../../services/chassis/data/migrate.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { silentLog } from '../support/runtime.ts'
import { startShop } from '../support/shop.ts'

const dir = 'services/order/migrations'
const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
/** As it was when 001 made the outbox and the idempotency keys. */
const before = { dir: 'test/order/before-chassis-tables', direction: 'up', migrationsTable: 'migrations', log: () => {}, logger: quiet } as const

/** Everything that a database has by a migration, but for when it ran. */
const schemaOf = async ({ sql }: TestDatabase) => ({
  columns: await sql(
    `select table_name, column_name, ordinal_position, data_type, character_maximum_length, is_nullable, column_default
     from information_schema.columns where table_schema = 'public' order by 1, 3`,
  ),
  indexes: await sql("select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1"),
  constraints: await sql(
    "select conrelid::regclass::text as table, conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2",
  ),
  migrations: await sql('select name from migrations order by id'),
  chassis: await sql('select name from chassis_migrations order by name'),
})

let old: TestDatabase
const userId = newId()
const [pending, cancelling] = [newId(), newId()]
const ITEMS = [{ sku: 'usb-c-cable', name: 'USB-C cable', quantity: 1, unitPrice: { amount: 3_500, currency: 'EUR' } }]

beforeAll(async () => {
  old = await testDatabase()
  await runner({ ...before, databaseUrl: old.url })
  for (const [id, state, kind] of [
    [pending, 'pending', 'reserve-credit'],
    [cancelling, 'cancelling', 'release-credit'],
  ]) {
    await old.sql("insert into orders (id, user_id, state, items, total_amount, currency) values ($1, $2, $3, $4, 3500, 'EUR')", [
      id,
      userId,
      state,
      JSON.stringify(ITEMS),
    ])
    await old.sql("insert into outbox (id, kind, subject_id, payload, due_at) values ($1, $2, $3, $4, now() + interval '1 hour')", [
      newId(),
      kind,
      id,
      { userId, version: 1, amount: 3_500 },
    ])
  }
  await old.sql(
    `insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until, answer_status, answer_body)
     values ($1, 'k', '\\x00', $2, now(), 201, '{}')`,
    [userId, newId()],
  )
})
afterAll(() => old?.close())

describe('services/order/migrations on a database whose first migration made the outbox', () => {
  test('end with the same tables as on a new one, and keep each row', async () => {
    const rows = () => old.sql('select o.*, k.* from outbox o full join idempotency_keys k on false order by o.id')
    const inFlight = await rows()
    expect(inFlight).toHaveLength(3)
    await migrate({ url: old.url, dir, log: silentLog })
    expect(await rows()).toEqual(inFlight)
    const fresh = await testDatabase('order')
    onTestFinished(fresh.close)
    expect(await schemaOf(old)).toEqual(await schemaOf(fresh))
  })

  test('let the orders that were under way go on', async () => {
    const shop = await startShop({ db: old })
    onTestFinished(shop.close)
    await shop.user.db.sql("insert into users (id, email, email_key, name, password_hash) values ($1, 'a@b.c', 'a@b.c', 'Ada', '')", [userId])
    await shop.user.db.sql("insert into credit_accounts (user_id, limit_amount, currency) values ($1, 100000, 'EUR')", [userId])
    await old.sql('update outbox set due_at = now()')
    await shop.untilState(pending, 'confirmed')
    await shop.untilState(cancelling, 'cancelled')
    expect(await shop.reserved(userId)).toBe(3_500)
    expect(await old.sql('select 1 from outbox')).toEqual([])
  })
})
