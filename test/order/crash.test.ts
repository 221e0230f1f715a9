import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { system } from '../../infra/system.ts'
import { type LocalPorts, type LocalSystem, prepareLocalSystem, type ServiceProcess } from '../../scripts/local-system.ts'
import { asSuperuser, freePort, type Postgres, startPostgres } from '../../scripts/postgres.ts'
import { newId } from '../../services/chassis/ids.ts'
import { orderContract } from '../../services/order/contract.ts'
import { order } from '../../services/order/service.ts'
import { SAGA_STEPS } from '../../services/order/steps.ts'
import { userContract } from '../../services/user/contract.ts'
import { user } from '../../services/user/service.ts'
import { type Http, httpTo, type Reply } from '../support/http.ts'

const PATIENCE = { timeout: 20_000, interval: 50 }
const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]

let dir: string
let dieAt: string
let postgres: Postgres
let local: LocalSystem
let userProcess: ServiceProcess
let orderProcess: ServiceProcess
let toUser: Http
let toOrder: Http
let customer: { id: string; token: string }

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-crash-'))
  await chmod(dir, 0o755)
  dieAt = join(dir, 'die-at')
  postgres = await startPostgres({ dir: join(dir, 'postgres'), unsafe: true })
  const ports = new Map<string, LocalPorts>()
  for (const { name } of system.services) ports.set(name, { port: await freePort(), adminPort: await freePort() })
  local = await prepareLocalSystem({ system, dir, postgres, portsOf: ({ name }) => ports.get(name) as LocalPorts })
  userProcess = await startUser()
  orderProcess = await startOrder()
  toUser = httpTo(userProcess.url, userContract)
  toOrder = httpTo(orderProcess.url, orderContract)
  customer = await newCustomer()
}, 60_000)
afterAll(async () => {
  await Promise.all([orderProcess?.stop(), userProcess?.stop()])
  await postgres?.stop()
  await rm(dir, { recursive: true, force: true })
})

const startUser = () => local.start(user, { env: { LINGER_MS: '0' } })
const startOrder = () =>
  local.start(order, {
    env: { LINGER_MS: '0', DIE_AT: dieAt },
    nodeFlags: ['--import', fileURLToPath(new URL('../support/die-at.ts', import.meta.url))],
  })

async function newCustomer() {
  const login = { email: `${newId()}@example.org`, password: 'correct horse battery' }
  const { body } = await toUser('POST', '/users', { json: { ...login, name: 'Ada' } })
  const session = await toUser('POST', '/sessions', { json: login })
  return { id: body.id as string, token: session.body.accessToken as string }
}

const sql = <Row>(database: string, text: string, values: unknown[] = []): Promise<Row[]> =>
  asSuperuser(postgres, database, async client => (await client.query(text, values)).rows)

/** Repeats a request until it is neither cut off nor told to come back. */
async function answerOf(ask: () => Promise<Reply>): Promise<Reply> {
  return vi.waitFor(async () => {
    const reply = await ask()
    expect([409, 503, 504]).not.toContain(reply.status)
    return reply
  }, PATIENCE)
}

/** A short deadline, so that the lease of a request that died ends soon. */
const placeWith = (key: string, token = customer.token) =>
  toOrder('POST', '/orders', { token, json: { items: CABLE }, headers: { 'idempotency-key': key, 'x-request-timeout-ms': '700' } })
const cancel = (id: string) => toOrder('POST', `/orders/${id}/cancellation`, { token: customer.token, headers: { 'x-request-timeout-ms': '700' } })

/** Arms the step, sends the request that passes it, sees the process die and starts it again. */
async function dieDuring(step: string, request: () => Promise<Reply>): Promise<void> {
  await writeFile(dieAt, step)
  const cutOff = request().catch((error: Error) => error)
  expect(await orderProcess.ended).toBe('SIGKILL')
  expect(await cutOff).toBeInstanceOf(TypeError)
  orderProcess = await startOrder()
}

const settled = () =>
  vi.waitFor(async () => {
    const [left] = await sql<{ orders: number; messages: number }>(
      'order',
      `select (select count(*)::int from orders where state in ('pending', 'cancelling')) as orders, (select count(*)::int from outbox) as messages`,
    )
    expect(left).toEqual({ orders: 0, messages: 0 })
  }, PATIENCE)

/** Reserved is what is confirmed, within the limit, for every user; the user service's account agrees with its reservations. */
async function expectCreditAgrees(): Promise<void> {
  const confirmed = await sql<{ userId: string; amount: number }>(
    'order',
    `select user_id as "userId", sum(total_amount)::int as amount from orders where state = 'confirmed' group by user_id`,
  )
  const accounts = await sql<{ userId: string; reserved: number; limit: number; held: number }>(
    'user',
    `select user_id as "userId", reserved_amount::int as reserved, limit_amount::int as limit,
       (select coalesce(sum(amount), 0)::int from reservations r where r.user_id = a.user_id and state = 'reserved') as held
     from credit_accounts a`,
  )
  for (const { userId, reserved, limit, held } of accounts) {
    const sum = confirmed.find(row => row.userId === userId)?.amount ?? 0
    expect({ reserved, held }, `credit of ${userId}`).toEqual({ reserved: sum, held: sum })
    expect(reserved).toBeLessThanOrEqual(limit)
  }
}

const countOf = async (id: string) => (await sql('order', 'select 1 from orders where id = $1', [id])).length
const stateOf = async (id: string) => (await sql<{ state: string }>('order', 'select state from orders where id = $1', [id]))[0]?.state
const ordersOf = async (userId: string) => (await sql('order', 'select 1 from orders where user_id = $1', [userId])).length

const ofCancellation = (step: string) => /^(cancel|release)-/.test(step)

describe('an order whose process is killed at', () => {
  test.each(SAGA_STEPS.filter(step => !ofCancellation(step)))('%s exists once and is confirmed', async step => {
    const before = await ordersOf(customer.id)
    const key = newId()
    await dieDuring(step, () => placeWith(key))
    const first = await answerOf(() => placeWith(key))
    expect([201, 202]).toContain(first.status)
    await settled()
    expect(await ordersOf(customer.id)).toBe(before + 1)
    expect(await stateOf(first.body.id)).toBe('confirmed')
    await expectCreditAgrees()
    const again = await placeWith(key)
    expect({ status: again.status, body: again.body }).toEqual({ status: first.status, body: first.body })
    expect(again.headers.get('idempotency-replayed')).toBe('true')
  })
})

describe('a cancellation whose process is killed at', () => {
  test.each([...SAGA_STEPS.filter(ofCancellation), 'order-moved', 'message-dequeued'])('%s is done and gives the credit back', async step => {
    const placed = await placeWith(newId())
    expect(placed.status).toBe(201)
    await dieDuring(step, () => cancel(placed.body.id))
    const reply = await answerOf(() => cancel(placed.body.id))
    expect([200, 202]).toContain(reply.status)
    await settled()
    expect(await stateOf(placed.body.id)).toBe('cancelled')
    expect((await cancel(placed.body.id)).status).toBe(200)
    expect(await countOf(placed.body.id)).toBe(1)
    await expectCreditAgrees()
  })
})

test('orders that are under way while the user process is killed are all settled once when it is back', async () => {
  const busy = await newCustomer()
  const keys = Array.from({ length: 60 }, newId)
  let answered = 0
  const replies = keys.map(async (key, n) => {
    await new Promise(resolve => setTimeout(resolve, n * 15))
    const reply = await answerOf(() => placeWith(key, busy.token))
    answered++
    return reply
  })
  await vi.waitFor(() => expect(answered).toBeGreaterThan(5), { timeout: 10_000, interval: 5 })
  userProcess.child.kill('SIGKILL')
  expect(await userProcess.ended).toBe('SIGKILL')
  const all = await Promise.all(replies)
  expect(new Set(all.map(({ status }) => status))).toContain(202)
  userProcess = await startUser()
  await settled()
  const ids = all.map(({ body }) => (body.id ?? body.orderId) as string)
  expect(new Set(ids).size).toBe(keys.length)
  const rows = await sql<{ id: string; state: string }>('order', 'select id, state from orders where user_id = $1', [busy.id])
  expect(rows.map(({ id }) => id).sort()).toEqual([...ids].sort())
  expect(rows.filter(({ state }) => state === 'confirmed')).toHaveLength(Math.floor(100_000 / 3_500))
  expect(rows.filter(({ state }) => state === 'rejected')).toHaveLength(keys.length - Math.floor(100_000 / 3_500))
  for (const { status, body } of all) if (status === 201) expect(await stateOf(body.id)).toBe('confirmed')
  await expectCreditAgrees()
})
