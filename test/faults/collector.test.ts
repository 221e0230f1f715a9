import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { freePort } from '../../services/chassis/local/ports.ts'
import { type LocalShop, prepareLocalShop } from '../shop/support/local-shop.ts'

let shop: LocalShop
let hanging: Server

beforeAll(async () => {
  shop = await prepareLocalShop()
  await shop.startUser()
  hanging = createServer(() => {})
  await new Promise<void>(resolve => hanging.listen(0, '127.0.0.1', resolve))
}, 60_000)
afterAll(async () => {
  await shop?.close()
  hanging?.closeAllConnections()
  hanging?.close()
})

const collectors: [what: string, url: () => Promise<string>][] = [
  ['that is gone', async () => `http://127.0.0.1:${await freePort()}`],
  ['that takes connections and never answers', async () => `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`],
]

describe.each(collectors)('with a collector %s', (_, url) => {
  test('every request is answered as ever, and SIGTERM ends the service with 0', async () => {
    const order = await shop.startOrder({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: await url() } })
    const { token } = await shop.newCustomer()
    const statuses = new Set<number>()
    const look = async () => {
      // Together far more spans than the queue has room for.
      for (let n = 0; n < 250; n++) statuses.add((await shop.toOrder('GET', '/products/phone-case')).status)
    }
    await Promise.all(Array.from({ length: 20 }, look))
    expect([...statuses]).toEqual([200])
    const placed = await shop.toOrder('POST', '/orders', {
      token,
      json: { items: [{ sku: 'phone-case', quantity: 1 }] },
      headers: { 'idempotency-key': newId() },
    })
    expect(placed.status).toBe(201)
    order.child.kill('SIGTERM')
    expect(await order.ended).toBe(0)
  }, 90_000)
})
