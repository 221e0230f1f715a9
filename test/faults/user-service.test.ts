import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ServiceProcess } from '../../scripts/local-system.ts'
import { newId } from '../../services/chassis/ids.ts'
import { type Customer, type LocalShop, PATIENCE, prepareLocalShop, scraped } from '../support/local-shop.ts'
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
  proxy = await startSlowProxy(shop.userUrl)
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
    // Eight at a time: enough attempts for the circuit to judge by.
    await vi
      .waitFor(
        async () => {
          for (const reply of await Promise.all(Array.from({ length: 8 }, place))) expect(reply.status).toBe(202)
          expect(await scraped(order, CIRCUIT)).toBe(2)
        },
        { timeout: 30_000, interval: 10 },
      )
      .catch(error => {
        throw error
      })
    proxy.delay(0)
    await vi.waitFor(async () => {
      expect((await place()).status).toBeLessThan(500)
      expect(await scraped(order, CIRCUIT)).toBe(0)
    }, PATIENCE)
    await shop.untilSettled()
    await shop.expectCreditAgrees()
  }, 90_000)

  test('answering every second call 503: attempts stay within 1.2 times the calls, and every order is confirmed', async () => {
    await untilConfirmed()
    const [putsBefore, retriesBefore] = [proxy.puts(), await scraped(order, RETRIES)]
    proxy.failEvery(2)
    const replies = []
    for (let i = 0; i < 25; i++) replies.push(await place())
    expect(replies.every(reply => reply.status === 201 || reply.status === 202)).toBe(true)
    await shop.untilSettled()
    const retries = (await scraped(order, RETRIES)) - retriesBefore
    const attempts = proxy.puts() - putsBefore
    // The bucket may hold up to ten retries that quieter times have earned.
    expect(attempts).toBeLessThanOrEqual((attempts - retries) * 1.2 + 10)
    expect(retries).toBeGreaterThan(0)
    proxy.failEvery(0)
    await shop.expectCreditAgrees()
  }, 60_000)
})
