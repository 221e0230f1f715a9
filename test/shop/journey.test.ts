import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { journey } from '../../infra/journey.ts'
import { curlLines } from '../../scripts/journey/curl-lines.ts'
import { comeIn, splitJourney, startLoad } from '../../scripts/journey/load.ts'
import { runJourney } from '../../scripts/journey/run-journey.ts'
import { type LocalShop, prepareLocalShop } from './support/local-shop.ts'

let shop: LocalShop
beforeAll(async () => {
  shop = await prepareLocalShop()
  await shop.startUser()
  await shop.startOrder()
}, 60_000)
afterAll(() => shop.close(), 30_000)

const origin = (service: string) => (service === 'user' ? shop.userUrl : shop.orderUrl)

test("the shop's journey can be taken, and leaves nobody's credit reserved", async () => {
  const taken = await runJourney(journey, { origin, signal: AbortSignal.timeout(30_000), stepTimeoutMs: 10_000 })
  expect(taken.map(({ title }) => title)).toEqual([
    'user.register',
    'user.logIn',
    'order.listProducts',
    'order.placeOrder',
    'order.getOrder',
    'user.getCredit',
    'order.cancelOrder',
    'user.getCredit',
  ])
  const [, , , placed, seen, reserved, , released] = taken.map(({ body }) => body as Record<string, unknown>)
  expect(seen).toMatchObject({ id: placed?.id, state: 'confirmed' })
  expect(reserved).toMatchObject({ reserved: placed?.total })
  expect(released).toMatchObject({ reserved: { amount: 0 } })
  // Every answer has the shape that the contract promises.
  for (const { step, status, body, title } of taken) expect(step.operation.responses[status]?.body?.safeParse(body).error, title).toBeUndefined()
})

test('the lines of the journey work as they stand', async () => {
  const strict = 'set -euo pipefail; curl() { command curl --fail-with-body "$@"; }\n'
  const { stdout } = await promisify(execFile)('bash', ['-c', strict + curlLines(journey, { origin })], { timeout: 30_000 })
  const answers = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(answers).toHaveLength(journey.steps.length)
  expect(answers.at(-1)).toMatchObject({ reserved: { amount: 0 } })
})

describe("the shop's journey as load", () => {
  const options = { origin, signal: AbortSignal.timeout(120_000), stepTimeoutMs: 20_000 }
  const namesOf = (steps: readonly { name: string }[]) => steps.map(({ name }) => name)
  const count = async (database: 'user' | 'order', from: string) =>
    (await shop.sql<{ count: number }>(database, `select count(*)::int as count from ${from}`))[0]?.count as number

  test('registers and logs in once a client, and repeats what a customer does', () => {
    const { entrance, repeated } = splitJourney(journey)
    expect(namesOf(entrance)).toEqual(['register', 'logIn'])
    expect(namesOf(repeated)).toEqual(['listProducts', 'placeOrder', 'getOrder', 'getCredit', 'cancelOrder', 'getCredit'])
  })

  test('fails nobody, and leaves nothing reserved', async () => {
    const [users, cancelled] = [await count('user', 'users'), await count('order', "orders where state = 'cancelled'")]
    const clients = await comeIn(journey, 12, options)
    const load = startLoad(journey, { ...options, clients, perSecond: 2 })
    await vi.waitFor(async () => expect(await count('order', "orders where state = 'cancelled'")).toBeGreaterThan(cancelled + 12), {
      timeout: 60_000,
      interval: 200,
    })
    const { repetitions, failures, answers } = await load.stop()
    expect(failures).toEqual([])
    expect(answers['order.listProducts 200']).toBe(repetitions)
    expect(await count('order', "orders where state = 'cancelled'")).toBe(cancelled + repetitions)
    expect(await count('user', 'users')).toBe(users + 12)
    expect(await count('user', 'credit_accounts where reserved_amount <> 0')).toBe(0)
  }, 100_000)

  test('counts what the shop refuses', async () => {
    const clients = await comeIn(journey, 1, options)
    await shop.sql('user', 'update credit_accounts set limit_amount = 0')
    const load = startLoad(journey, { ...options, clients, perSecond: 2 })
    await vi.waitFor(async () => expect(await count('order', "orders where state = 'rejected'")).toBe(1), { timeout: 30_000, interval: 100 })
    const { failures } = await load.stop()
    expect(failures[0]).toMatchObject({
      title: 'order.placeOrder',
      status: 422,
      reason: 'order.placeOrder (step 4 of 8): POST /orders answered 422 credit-exceeded',
    })
  }, 60_000)
})
