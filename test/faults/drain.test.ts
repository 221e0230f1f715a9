import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { adminStatus, type LocalShop, PATIENCE, prepareLocalShop } from '../shop/support/local-shop.ts'
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy.ts'

let shop: LocalShop
let proxy: SlowProxy

beforeAll(async () => {
  shop = await prepareLocalShop({ linger: '1500' })
  await shop.startUser()
  proxy = await startSlowProxy(shop.userGrpc)
}, 60_000)
afterAll(async () => {
  await shop?.close()
  await proxy?.close()
})

test('SIGTERM with slow requests in flight: each is answered whole, new ones are still taken for a while, exit code 0', async () => {
  const order = await shop.startOrder({ env: { USER_HOST: proxy.host } })
  const { token } = await shop.newCustomer()
  const place = () =>
    shop.toOrder('POST', '/orders', { token, json: { items: [{ sku: 'phone-case', quantity: 1 }] }, headers: { 'idempotency-key': newId() } })
  expect((await place()).status).toBe(201)
  proxy.delay(5_000)
  const inFlight = Array.from({ length: 20 }, place)
  await vi.waitFor(async () => {
    const [row] = await shop.sql<{ count: number }>('order', 'select count(*)::int as count from orders')
    expect(row?.count).toBe(21)
  }, PATIENCE)

  order.child.kill('SIGTERM')
  await vi.waitFor(async () => expect(await adminStatus(order, '/readyz')).toBe(503), { timeout: 5_000, interval: 10 })
  const late = await shop.toOrder('GET', '/products/phone-case')
  expect({ status: late.status, connection: late.headers.get('connection') }).toEqual({ status: 200, connection: 'close' })

  for (const reply of await Promise.all(inFlight)) {
    expect(reply.status).toBe(202)
    expect(reply.body.state).toBe('pending')
  }
  expect(await order.ended).toBe(0)
  await expect(fetch(`${shop.orderUrl}/products`)).rejects.toThrow()

  proxy.delay(0)
  await shop.startOrder({ env: { USER_HOST: proxy.host } })
  await shop.untilSettled()
  await shop.expectCreditAgrees()
}, 90_000)
