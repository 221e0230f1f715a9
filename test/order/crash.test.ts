import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { ServiceProcess } from '../../scripts/local/service-process.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { OUTBOX_STEPS } from '../../services/chassis/data/outbox-steps.ts'
import { SAGA_STEPS } from '../../services/order/steps.ts'
import { type Customer, type LocalShop, PATIENCE, prepareLocalShop } from '../shop/support/local-shop.ts'
import type { Reply } from '../support/http.ts'

const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]

let shop: LocalShop
let dieAt: string
let userProcess: ServiceProcess
let orderProcess: ServiceProcess
let customer: Customer

beforeAll(async () => {
  shop = await prepareLocalShop()
  dieAt = join(shop.dir, 'die-at')
  userProcess = await shop.startUser()
  orderProcess = await startOrder()
  customer = await shop.newCustomer()
}, 60_000)
afterAll(() => shop?.close())

const startOrder = () =>
  shop.startOrder({ env: { DIE_AT: dieAt }, nodeFlags: ['--import', fileURLToPath(new URL('../support/die-at.ts', import.meta.url))] })

/** Repeats a request until it is neither cut off nor told to come back. */
async function answerOf(ask: () => Promise<Reply>): Promise<Reply> {
  return vi.waitFor(async () => {
    const reply = await ask()
    expect([409, 503, 504]).not.toContain(reply.status)
    return reply
  }, PATIENCE)
}

const placeWith = (key: string, token = customer.token) =>
  shop.toOrder('POST', '/orders', { token, json: { items: CABLE }, headers: { 'idempotency-key': key } })
const cancel = (id: string) => shop.toOrder('POST', `/orders/${id}/cancellation`, { token: customer.token })

/** Arms the step, sends the request that passes it, sees the process die and starts it again. */
async function dieDuring(step: string, request: () => Promise<Reply>): Promise<void> {
  await writeFile(dieAt, step)
  const cutOff = request().catch((error: Error) => error)
  expect(await orderProcess.ended).toBe('SIGKILL')
  expect(await cutOff).toBeInstanceOf(TypeError)
  orderProcess = await startOrder()
}

const countOf = async (id: string) => (await shop.sql('order', 'select 1 from orders where id = $1', [id])).length
const stateOf = async (id: string) => (await shop.sql<{ state: string }>('order', 'select state from orders where id = $1', [id]))[0]?.state
const ordersOf = async (userId: string) => (await shop.sql('order', 'select 1 from orders where user_id = $1', [userId])).length

const ofCancellation = (step: string) => step.startsWith('cancel-')
const stepsOf = (command: string) => ['order-moved', ...OUTBOX_STEPS.map(step => `${command} ${step}`)]

describe('an order whose process is killed at', () => {
  test.each([...SAGA_STEPS.filter(step => !ofCancellation(step) && step !== 'order-moved'), ...stepsOf('user.reserveCredit')])(
    '%s exists once and is confirmed',
    async step => {
      const before = await ordersOf(customer.id)
      const key = newId()
      await dieDuring(step, () => placeWith(key))
      const first = await answerOf(() => placeWith(key))
      expect([201, 202]).toContain(first.status)
      await shop.untilSettled()
      expect(await ordersOf(customer.id)).toBe(before + 1)
      expect(await stateOf(first.body.id)).toBe('confirmed')
      await shop.expectCreditAgrees()
      const again = await placeWith(key)
      expect({ status: again.status, body: again.body }).toEqual({ status: first.status, body: first.body })
      expect(again.headers.get('idempotency-replayed')).toBe('true')
    },
  )
})

describe('a cancellation whose process is killed at', () => {
  test.each([...SAGA_STEPS.filter(ofCancellation), ...stepsOf('user.releaseCredit')])('%s is done and gives the credit back', async step => {
    const placed = await placeWith(newId())
    expect(placed.status).toBe(201)
    await dieDuring(step, () => cancel(placed.body.id))
    const reply = await answerOf(() => cancel(placed.body.id))
    expect([200, 202]).toContain(reply.status)
    await shop.untilSettled()
    expect(await stateOf(placed.body.id)).toBe('cancelled')
    expect((await cancel(placed.body.id)).status).toBe(200)
    expect(await countOf(placed.body.id)).toBe(1)
    await shop.expectCreditAgrees()
  })
})

test('orders that are under way while the user process is killed are all settled once when it is back', async () => {
  const busy = await shop.newCustomer()
  const keys = Array.from({ length: 60 }, newId)
  let answered = 0
  const replies = keys.map(async (key, n) => {
    await pause(n * 15)
    const reply = await answerOf(() => placeWith(key, busy.token))
    answered++
    return reply
  })
  await vi.waitFor(() => expect(answered).toBeGreaterThan(5), { timeout: 10_000, interval: 5 })
  userProcess.child.kill('SIGKILL')
  expect(await userProcess.ended).toBe('SIGKILL')
  const all = await Promise.all(replies)
  expect(new Set(all.map(({ status }) => status))).toContain(202)
  userProcess = await shop.startUser()
  await shop.untilSettled()
  const ids = all.map(({ body }) => (body.id ?? body.orderId) as string)
  expect(new Set(ids).size).toBe(keys.length)
  const rows = await shop.sql<{ id: string; state: string }>('order', 'select id, state from orders where user_id = $1', [busy.id])
  expect(rows.map(({ id }) => id).sort()).toEqual([...ids].sort())
  expect(rows.filter(({ state }) => state === 'confirmed')).toHaveLength(Math.floor(100_000 / 3_500))
  expect(rows.filter(({ state }) => state === 'rejected')).toHaveLength(keys.length - Math.floor(100_000 / 3_500))
  for (const { status, body } of all) if (status === 201) expect(await stateOf(body.id)).toBe('confirmed')
  await shop.expectCreditAgrees()
})
