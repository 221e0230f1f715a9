import { runner } from 'node-pg-migrate'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { migrate } from '../../services/chassis/data/migrate.ts'
import { startShop } from '../shop/support/shop.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { silentLog } from '../support/runtime.ts'

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
  triggers: await sql('select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1'),
  migrations: await sql('select name from migrations order by id'),
  chassis: await sql('select name from chassis_migrations order by name'),
})

let old: TestDatabase
const userId = newId()
const [pending, cancelling] = [newId(), newId()]
const total = { amount: 3_500, currency: 'EUR' }
const [reserve, release] = [
  { id: newId(), kind: 'reserve-credit' },
  { id: newId(), kind: 'release-credit' },
]
const ITEMS = [{ sku: 'usb-c-cable', name: 'USB-C cable', quantity: 1, unitPrice: total }]

beforeAll(async () => {
  old = await testDatabase()
  await runner({ ...before, databaseUrl: old.url })
  await write(pending, 'pending', reserve)
  await write(cancelling, 'cancelling', release)
  await old.sql(
    `insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until, answer_status, answer_body)
     values ($1, 'k', '\\x00', $2, now(), 201, '{}')`,
    [userId, newId()],
  )
})
afterAll(() => old?.close())

/** An order with a message of the version before. */
async function write(orderId: string, state: string, { id, kind }: { id: string; kind: string }) {
  await old.sql("insert into orders (id, user_id, state, items, total_amount, currency) values ($1, $2, $3, $4, 3500, 'EUR')", [
    orderId,
    userId,
    state,
    JSON.stringify(ITEMS),
  ])
  await old.sql("insert into outbox (id, kind, subject_id, payload, due_at) values ($1, $2, $3, $4, now() + interval '1 hour')", [
    id,
    kind,
    orderId,
    { userId, version: 1, amount: 3_500 },
  ])
}

const messages = () => old.sql('select * from outbox order by id')

describe('services/order/migrations on a database whose first migration made the outbox', () => {
  test('end with the same tables as on a new one, and keep each row', async () => {
    const keys = await old.sql('select * from idempotency_keys')
    const inFlight = await messages()
    expect(inFlight).toEqual([reserve, release].map(({ id, kind }) => expect.objectContaining({ id, kind })))
    await migrate({ url: old.url, dir, log: silentLog })
    expect(await old.sql('select * from idempotency_keys')).toEqual(keys)
    const numbered = { version: 1, sequence: 1 }
    expect(await messages()).toEqual([
      { ...inFlight[0], ...numbered, kind: 'user.reserveCredit', payload: { params: { orderId: pending }, body: { userId, total } } },
      { ...inFlight[1], ...numbered, kind: 'user.releaseCredit', payload: { params: { orderId: cancelling } } },
    ])
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

  describe('while pods of the version before still run', () => {
    const claim = (id: string) => old.sql('update outbox set attempts = attempts + 1, due_at = now() where id = $1 returning kind, payload', [id])
    const park = (id: string, reason: string) => old.sql('update outbox set parked_at = now(), last_error = $2 where id = $1', [id, reason])
    const message = async (id: string) => (await old.sql('select kind, parked_at, due_at > now() as waits from outbox where id = $1', [id]))[0]

    test('a message of theirs keeps its name for whoever wrote it, until somebody claims it', async () => {
      const [orderId, id] = [newId(), newId()]
      await write(orderId, 'pending', { id, kind: 'reserve-credit' })
      expect(await message(id)).toMatchObject({ kind: 'reserve-credit' })
      const body = { userId, total }
      expect(await claim(id)).toEqual([{ kind: 'user.reserveCredit', payload: { params: { orderId }, body } }])
    })

    test('a message of ours that they park since they do not know it comes back; one that cannot be delivered stays parked', async () => {
      const [orderId, id] = [newId(), newId()]
      await write(orderId, 'cancelling', { id, kind: 'release-credit' })
      await claim(id)
      await park(id, 'unknown-kind')
      expect(await message(id)).toEqual({ kind: 'user.releaseCredit', parked_at: null, waits: true })
      await old.sql("update outbox set due_at = now() + interval '6 seconds' where id = $1", [id])
      expect(await old.sql("select due_at > now() + interval '5 seconds' as leased from outbox where id = $1", [id])).toEqual([{ leased: true }])
      await park(id, 'reservation-mismatch')
      expect(await message(id)).toMatchObject({ parked_at: expect.any(Date) })
      await old.sql('update outbox set attempts = 0 where id = $1', [id])
      expect(await message(id)).toMatchObject({ parked_at: expect.any(Date) })
    })
  })
})
