import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { ServiceProcess } from '../../scripts/local/service-process.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { adminStatus, type Customer, type LocalShop, PATIENCE, prepareLocalShop } from '../shop/support/local-shop.ts'
import { processTree, signalAll } from '../support/process-tree.ts'

/** Longer than any timeout or backoff lasts; FAULT_SECONDS may shorten it while working on something else. */
const OUTAGE_MS = Number(process.env.FAULT_SECONDS ?? 30) * 1_000

let shop: LocalShop
let services: ServiceProcess[]
let customers: Customer[]

beforeAll(async () => {
  // With the usual safety: what was acknowledged must be on disk.
  shop = await prepareLocalShop({ unsafe: false })
  services = [await shop.startUser(), await shop.startOrder()]
  customers = await Promise.all(Array.from({ length: 10 }, () => shop.newCustomer()))
}, 60_000)
afterAll(() => shop?.close())

/** One customer who orders cases, repeating each order with its key until it is acknowledged. */
async function buy(customer: Customer, acknowledged: Map<string, string>, stop: AbortSignal, refusals: number[]): Promise<void> {
  while (!stop.aborted) {
    const key = newId()
    for (let attempt = 0; attempt < 300; attempt++) {
      const reply = await shop.toOrder('POST', '/orders', {
        token: customer.token,
        json: { items: [{ sku: 'phone-case', quantity: 1 }] },
        headers: { 'idempotency-key': key },
      })
      if (reply.status === 201 || reply.status === 202) acknowledged.set(key, reply.body.id)
      if (reply.status < 500 && reply.status !== 409) break
      if (reply.status >= 500) refusals.push(reply.status)
      await sleep(200)
    }
    await sleep(300)
  }
}

test(
  'Postgres killed under load loses and doubles no acknowledged order, and the services recover by themselves',
  async () => {
    const acknowledged = new Map<string, string>()
    const refusals: number[] = []
    const stop = new AbortController()
    const buying = customers.map(customer => buy(customer, acknowledged, stop.signal, refusals))
    await vi.waitFor(() => expect(acknowledged.size).toBeGreaterThan(20), PATIENCE)

    signalAll(processTree(await shop.postgres.pid()), 'SIGKILL')
    await vi.waitFor(async () => {
      for (const service of services) expect(await adminStatus(service, '/readyz')).toBe(503)
    }, PATIENCE)
    const endsAt = performance.now() + OUTAGE_MS
    while (performance.now() < endsAt) {
      for (const service of services) expect(await adminStatus(service, '/livez')).toBe(200)
      const replies = [await shop.toOrder('GET', '/products/phone-case'), await shop.toUser('GET', '/users/me', { token: customers[0]?.token })]
      for (const { status, type } of replies) {
        expect([503, 504]).toContain(status)
        expect(type).toBe('application/problem+json')
      }
      await sleep(500)
    }
    const before = acknowledged.size

    await shop.postgres.start()
    await vi.waitFor(async () => {
      for (const service of services) expect(await adminStatus(service, '/readyz')).toBe(200)
    }, PATIENCE)
    await vi.waitFor(() => expect(acknowledged.size).toBeGreaterThan(before + 20), PATIENCE)
    stop.abort()
    await Promise.all(buying)
    await shop.untilSettled()

    expect(new Set(refusals).isSubsetOf(new Set([503, 504])), `refused with ${[...new Set(refusals)]}`).toBe(true)
    expect(refusals.length).toBeGreaterThan(0)
    const ids = [...acknowledged.values()]
    expect(new Set(ids).size).toBe(ids.length)
    const found = await shop.sql<{ id: string; key: string }>(
      'order',
      'select o.id, k.key from orders o join idempotency_keys k on k.subject_id = o.id',
    )
    expect(new Set(found.map(row => row.key)).size).toBe(found.length)
    for (const [key, id] of acknowledged) expect(found.find(row => row.key === key)?.id, `order of key ${key}`).toBe(id)
    const [orders] = await shop.sql<{ count: number }>('order', 'select count(*)::int as count from orders')
    expect(orders?.count).toBe(found.length)
    await shop.expectCreditAgrees()
  },
  OUTAGE_MS + 120_000,
)
