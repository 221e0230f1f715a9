import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { type Shop, startShop } from '../shop/support/shop.ts'
import { expectProblem } from '../support/http.ts'

const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]
const TOO_DEAR = [{ sku: 'iphone-17-pro', quantity: 1 }]

let shop: Shop

beforeAll(async () => {
  shop = await startShop({ relay: false, limits: { open: 3, refused: 2 } })
})
afterAll(() => shop?.close())

const write = (userId: string, state: string, count: number, age = '0 seconds') =>
  shop.order.db.sql(
    `insert into orders (id, user_id, state, items, total_amount, currency, rejection_code, created_at)
     select id, $2, $3, '[]', 0, 'EUR', case when $3 = 'rejected' then 'credit-exceeded' end, now() - $4::interval from unnest($1::uuid[]) id`,
    [Array.from({ length: count }, newId), userId, state, age],
  )
const place = (token: string, items = CABLE, key?: string) => shop.order.place(token, items, key)

describe('POST /orders', () => {
  test.each(['pending', 'cancelling'])('is 429 with Retry-After for a user with too many orders that are %s, and for nobody else', async state => {
    const [customer, other] = [await shop.user.newUser(), await shop.user.newUser()]
    await write(customer.id, state, 2)
    expect((await place(customer.token)).status).toBe(201)
    await write(customer.id, state, 1)
    const refused = await place(customer.token)
    expectProblem(refused, 429, 'too-many-open-orders')
    expect(refused.headers.get('retry-after')).toBe('5')
    expect((await place(other.token)).status).toBe(201)
  })

  test('orders that are settled count for nothing', async () => {
    const customer = await shop.user.newUser()
    for (const state of ['confirmed', 'cancelled']) await write(customer.id, state, 10)
    expect((await place(customer.token)).status).toBe(201)
  })

  test('is 429 for a user of whom too many orders were refused within a day, until the day is over', async () => {
    const customer = await shop.user.newUser()
    await write(customer.id, 'rejected', 10, '25 hours')
    await write(customer.id, 'rejected', 1, '23 hours')
    expectProblem(await place(customer.token, TOO_DEAR), 422, 'credit-exceeded')
    const refused = await place(customer.token)
    expectProblem(refused, 429, 'too-many-refused-orders')
    const seconds = Number(refused.headers.get('retry-after'))
    expect(seconds).toBeGreaterThan(3_500)
    expect(seconds).toBeLessThanOrEqual(3_600)
    await shop.order.db.sql("update orders set created_at = created_at - interval '61 minutes' where user_id = $1", [customer.id])
    expect((await place(customer.token)).status).toBe(201)
  })

  test('a refusal leaves no row, and the same key is good for an order later', async () => {
    const customer = await shop.user.newUser()
    await write(customer.id, 'pending', 3)
    const key = newId()
    expectProblem(await place(customer.token, CABLE, key), 429, 'too-many-open-orders')
    expect(await shop.order.db.sql('select 1 from idempotency_keys where owner = $1', [customer.id])).toEqual([])
    await shop.order.db.sql("update orders set state = 'cancelled' where user_id = $1", [customer.id])
    expect((await place(customer.token, CABLE, key)).status).toBe(201)
  })

  test('a repeat of an earlier order is answered, however many are open', async () => {
    const customer = await shop.user.newUser()
    const key = newId()
    const first = await place(customer.token, CABLE, key)
    await write(customer.id, 'pending', 3)
    const again = await place(customer.token, CABLE, key)
    expect({ status: again.status, body: again.body }).toEqual({ status: 201, body: first.body })
  })

  test('both counts are read in an index of their own', async () => {
    const rows = await shop.order.db.sql<{ name: string }>("select indexname as name from pg_indexes where tablename = 'orders' order by 1")
    expect(rows.map(({ name }) => name)).toEqual(['orders_open', 'orders_pkey', 'orders_refused', 'orders_user'])
  })
})
