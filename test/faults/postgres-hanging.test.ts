import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { ServiceProcess } from '../../scripts/local/service-process.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { adminStatus, type Customer, type LocalShop, PATIENCE, prepareLocalShop } from '../shop/support/local-shop.ts'
import { processTree, signalAll } from '../support/process-tree.ts'

let shop: LocalShop
let services: ServiceProcess[]
let customer: Customer

beforeAll(async () => {
  shop = await prepareLocalShop()
  services = [await shop.startUser(), await shop.startOrder()]
  customer = await shop.newCustomer()
}, 60_000)
afterAll(() => shop?.close())

const place = (key: string) =>
  shop.toOrder('POST', '/orders', {
    token: customer.token,
    json: { items: [{ sku: 'phone-case', quantity: 1 }] },
    headers: { 'idempotency-key': key },
  })

test('a hanging Postgres gives 504 by the deadline, green liveness and red readiness, and is forgotten when it wakes', async () => {
  expect((await place(newId())).status).toBe(201)
  const frozen = processTree(await shop.postgres.pid())
  const key = newId()
  try {
    signalAll(frozen, 'SIGSTOP')
    // More at once than the pool has connections, so that some of them wait for one.
    const reads = Array.from({ length: 40 }, () => shop.toOrder('GET', '/products/phone-case'))
    const me = shop.toUser('GET', '/users/me', { token: customer.token })
    for (const reply of await Promise.all([...reads, me, place(key)])) {
      expect({ status: reply.status, code: reply.body.code }).toEqual({ status: 504, code: 'deadline-exceeded' })
    }
    for (const service of services) {
      expect(await adminStatus(service, '/livez')).toBe(200)
      expect(await adminStatus(service, '/readyz')).toBe(503)
    }
  } finally {
    signalAll(frozen, 'SIGCONT')
  }
  await vi.waitFor(async () => {
    for (const service of services) expect(await adminStatus(service, '/readyz')).toBe(200)
    expect((await shop.toOrder('GET', '/products/phone-case')).status).toBe(200)
  }, PATIENCE)
  await vi.waitFor(async () => expect([201, 202]).toContain((await place(key)).status), PATIENCE)
  await shop.untilSettled()
  await shop.expectCreditAgrees()
  expect(await shop.sql('order', 'select 1 from idempotency_keys where key = $1', [key])).toHaveLength(1)
}, 90_000)
