import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
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
const atOnce = (command: string) => [`${command} answered`, `${command} committed`]
const inTransaction = (command: string) => ['order-moved', ...OUTBOX_STEPS.map(step => `${command} ${step}`)]

async function placedOnceDespite(step: string, key: string): Promise<void> {
  const before = await ordersOf(customer.id)
  await dieDuring(step, () => placeWith(key))
  await expectOneOrder(key, before)
}

async function expectOneOrder(key: string, before: number): Promise<void> {
  const first = await answerOf(() => placeWith(key))
  expect([201, 202]).toContain(first.status)
  await shop.untilSettled()
  expect(await ordersOf(customer.id)).toBe(before + 1)
  expect(await stateOf(first.body.id)).toBe('confirmed')
  await shop.expectCreditAgrees()
  const again = await placeWith(key)
  expect({ status: again.status, body: again.body }).toEqual({ status: first.status, body: first.body })
  expect(again.headers.get('idempotency-replayed')).toBe('true')
}

async function cancelledDespite(step: string): Promise<void> {
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
}

describe('an order whose process is killed at', () => {
  test.each(['order-committed', ...atOnce('user.reserveCredit')])('%s exists once and is confirmed', step => placedOnceDespite(step, newId()))
})

describe('a cancellation whose process is killed at', () => {
  test.each([...SAGA_STEPS.filter(ofCancellation), ...atOnce('user.releaseCredit')])('%s is done and gives the credit back', cancelledDespite)
})

describe('where a transaction settles, since the statement found no message,', () => {
  // Of each message the first attempt to remove it finds none, as if another had settled it; a sequence is not rolled back.
  beforeAll(() =>
    shop.sql(
      'order',
      `create sequence attempts;
       grant usage on sequence attempts to public;
       create function skip_first() returns trigger language plpgsql as
         $$ begin if nextval('attempts') % 2 = 1 then return null; end if; return old; end $$;
       create trigger skip_first before delete on outbox for each row when (old.kind like 'user.%') execute function skip_first()`,
    ),
  )
  afterAll(() => shop.sql('order', 'drop trigger skip_first on outbox; drop function skip_first; drop sequence attempts'))

  test.each(inTransaction('user.reserveCredit'))('an order whose process is killed at %s exists once and is confirmed', step =>
    placedOnceDespite(step, newId()),
  )
  test.each(inTransaction('user.releaseCredit'))('a cancellation whose process is killed at %s is done', cancelledDespite)
})

describe('a process that is killed while its statement is under way', () => {
  test('leaves an order once, whether or not the statement went on', async () => {
    const before = await ordersOf(customer.id)
    const key = newId()
    const holder = new pg.Client({ connectionString: shop.postgres.url('order') })
    await holder.connect()
    await holder.query('begin')
    await holder.query("insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until) values ($1, $2, '', $3, now())", [
      customer.id,
      key,
      newId(),
    ])
    const cutOff = placeWith(key).catch((error: Error) => error)
    await vi.waitFor(async () => expect(await blocked()).toHaveLength(1), PATIENCE)
    orderProcess.child.kill('SIGKILL')
    await orderProcess.ended
    expect(await cutOff).toBeInstanceOf(TypeError)
    await holder.end()
    orderProcess = await startOrder()
    await expectOneOrder(key, before)
  })
})

const blocked = () => shop.sql('order', "select 1 from pg_stat_activity where datname = 'order' and wait_event_type = 'Lock'")

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
