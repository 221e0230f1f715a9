import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { journey } from '../../infra/journey.ts'
import { curlLines } from '../../scripts/journey/curl-lines.ts'
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
