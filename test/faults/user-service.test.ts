import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ServiceProcess } from '../../scripts/local/service-process.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { type Customer, type LocalShop, PATIENCE, prepareLocalShop, scraped } from '../shop/support/local-shop.ts'
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy.ts'

const CIRCUIT = 'http_client_circuit_state{peer_service="user"}'
const RETRIES = 'http_client_retries_total{peer_service="user"}'

let shop: LocalShop
let proxy: SlowProxy
let user: ServiceProcess
let order: ServiceProcess
let customer: Customer

beforeAll(async () => {
  shop = await prepareLocalShop()
  user = await shop.startUser()
  proxy = await startSlowProxy(shop.userGrpc)
  order = await shop.startOrder({ env: { USER_HOST: proxy.host } })
}, 60_000)
beforeEach(async () => {
  customer = await shop.newCustomer()
})
afterAll(async () => {
  await shop?.close()
  await proxy?.close()
})

const place = () =>
  shop.toOrder('POST', '/orders', {
    token: customer.token,
    json: { items: [{ sku: 'phone-case', quantity: 1 }] },
    headers: { 'idempotency-key': newId() },
  })

const untilConfirmed = () => vi.waitFor(async () => expect((await place()).status).toBe(201), { timeout: 20_000, interval: 500 })

describe('the user service', () => {
  test('down: orders are answered 202 and confirmed when it is back', async () => {
    expect((await place()).status).toBe(201)
    user.child.kill('SIGKILL')
    await user.ended
    const placed = await Promise.all(Array.from({ length: 10 }, place))
    expect(placed.map(reply => reply.status)).toEqual(Array(10).fill(202))
    user = await shop.startUser()
    await shop.untilSettled()
    for (const { body } of placed) {
      expect((await shop.toOrder('GET', `/orders/${body.id}`, { token: customer.token })).body.state).toBe('confirmed')
    }
    await shop.expectCreditAgrees()
  }, 60_000)

  test('5 s slow: orders are answered 202 within their deadline, the circuit opens, and closes when it is quick again', async () => {
    await untilConfirmed()
    proxy.delay(5_000)
    // Eight at a time: enough attempts for the circuit to judge by. One that came later than its deadline would be a 504.
    await vi.waitFor(
      async () => {
        expect((await Promise.all(Array.from({ length: 8 }, place))).map(reply => reply.status)).toEqual(Array(8).fill(202))
        expect(await scraped(order, CIRCUIT)).toBe(2)
      },
      { timeout: 30_000, interval: 10 },
    )
    proxy.delay(0)
    await vi.waitFor(async () => {
      expect((await place()).status).toBe(201)
      expect(await scraped(order, CIRCUIT)).toBe(0)
    }, PATIENCE)
    await shop.untilSettled()
    await shop.expectCreditAgrees()
  }, 90_000)

  test('answering every second call 503: attempts stay within 1.2 times the calls, and every order is confirmed', async () => {
    // A new process: its budget holds no retries that quieter times have earned.
    await order.stop()
    const before = proxy.requests()
    order = await shop.startOrder({ env: { USER_HOST: proxy.host } })
    proxy.failEvery(2)
    const replies = []
    for (let i = 0; i < 25; i++) replies.push(await place())
    // Some were repeated at once, for others there was no budget.
    expect(new Set(replies.map(reply => reply.status))).toEqual(new Set([201, 202]))
    await shop.untilSettled()
    const retries = await scraped(order, RETRIES)
    const attempts = proxy.requests() - before
    // A later attempt of the relay is a call of its own.
    expect(attempts).toBeLessThanOrEqual((attempts - retries) * 1.2)
    expect(retries).toBeGreaterThan(0)
    proxy.failEvery(0)
    for (const { body } of replies) {
      expect((await shop.toOrder('GET', `/orders/${body.id}`, { token: customer.token })).body.state).toBe('confirmed')
    }
    await shop.expectCreditAgrees()
  }, 60_000)
})
