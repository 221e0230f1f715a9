import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { jwksOperation } from '../../../services/chassis/contract/access-token.ts'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { defineService } from '../../../services/chassis/contract/graph.ts'
import { implement } from '../../../services/chassis/contract/implement.ts'
import { testDatabase } from '../../support/database.ts'
import { httpTo, listen } from '../../support/http.ts'
import { testRuntime } from '../../support/runtime.ts'
import { small } from '../../support/small.ts'
import { wired } from '../../support/wired.ts'

const responses = { 204: { description: 'Done' } }
const rest = {
  port: 8_080,
  ...small,
}
const pay = { method: 'POST', path: '/payments', summary: 'Pay', auth: 'none', responses } as const
const migrations = new URL('./migrations/', import.meta.url)

afterEach(() => void vi.useRealTimers())

/** Names of the spans of one round of housekeeping. */
async function housekeeping(operation: typeof pay & { idempotencyKey?: true }): Promise<string[]> {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const runtime = testRuntime()
  const db = await testDatabase('stock', { runtime })
  onTestFinished(db.close)
  const service = defineService({ name: 'till', database: 'till', contract: defineContract({ pay: operation }), ...rest })
  const till = implement(service, {
    migrations,
    start: ({ database }) => ({ handlers: { pay: () => ({ status: 204 }) }, jobs: { look: () => database.ping(1_000) } }),
  })
  const { close } = await wired(till, { NAMESPACE: 'acme' }, { runtime, database: db.database, clients: {} })
  onTestFinished(close)
  const named = () =>
    runtime.spans.getFinishedSpans().flatMap(({ name, status }) => (name.startsWith('housekeeping ') ? [`${name.slice(13)} ${status.code}`] : []))
  await vi.advanceTimersByTimeAsync(12 * 60_000)
  await vi.waitFor(() => expect(named()).toContainEqual(expect.stringContaining('look')), { timeout: 5_000, interval: 5 })
  expect(runtime.lines.filter(({ msg }) => msg === 'housekeeping failed')).toEqual([])
  return named()
}

describe('a wired service', () => {
  test('purges idempotency keys where an operation takes them, beside its own jobs', async () => {
    expect(await housekeeping({ ...pay, idempotencyKey: true })).toEqual(['idempotency-keys 0', 'look 0'])
  })

  test('does its own jobs alone where none does', async () => {
    expect(await housekeeping(pay)).toEqual(['look 0'])
  })

  test('dead-letters what its last version left in the outbox, when it sends no commands any more', async () => {
    const runtime = testRuntime()
    const db = await testDatabase('stock', { runtime })
    onTestFinished(db.close)
    await db.sql(
      `insert into outbox (id, kind, subject_id, payload, attempts, due_at)
       select gen_random_uuid(), 'stock.reserve', gen_random_uuid(), '{}', attempts, now() from unnest(array[0, 39]) attempts`,
    )
    const till = implement(defineService({ name: 'till', database: 'till', contract: defineContract({ pay }), ...rest }), {
      migrations,
      start: () => ({ handlers: { pay: () => ({ status: 204 }) } }),
    })
    const listen = vi.fn()
    const { close } = await wired(till, { NAMESPACE: 'acme' }, { runtime, database: { ...db.database, listen }, clients: {} })
    onTestFinished(close)
    const left = () => db.sql('select parked_at is not null as parked, last_error as why from outbox order by attempts')
    const why = 'unknown-kind'
    await vi.waitFor(
      async () =>
        expect(await left()).toEqual([
          { parked: false, why },
          { parked: true, why },
        ]),
      { timeout: 5_000, interval: 10 },
    )
    expect(listen).not.toHaveBeenCalled()
  })

  test('closes what it brings in its order', async () => {
    const closed: string[] = []
    const close = (name: string) => async () => closed.push(name)
    const service = defineService({ name: 'till', contract: defineContract({ pay }), ...rest })
    const till = implement(service, { start: () => ({ handlers: { pay: () => ({ status: 204 }) }, closers: [close('first'), close('second')] }) })
    await (await wired(till, { NAMESPACE: 'acme' }, { runtime: testRuntime(), clients: {} })).close()
    expect(closed).toEqual(['first', 'second'])
  })

  const done = () => ({ status: 204 })
  const look = { ...pay, method: 'GET' } as const
  test.each([
    ['without a handler', { pay: done }, 'till has no handler for look: add it to the handlers in services/till/start.ts'],
    ['without any handler', {}, 'till has no handler for pay, look: add them to the handlers in services/till/start.ts'],
    ['with no handlers', undefined, 'till has no handler for pay, look: add them to the handlers in services/till/start.ts'],
    [
      'with something that is no handler',
      { pay: done, look: null },
      'till has no handler for look: add it to the handlers in services/till/start.ts',
    ],
    [
      'with a handler for an operation that it does not have',
      { pay: done, look: done, lok: done },
      'till has no operation lok: remove it from the handlers in services/till/start.ts, or add it to its contract',
    ],
  ])('does not start %s, and says which', async (_how, handlers, message) => {
    const service = defineService({ name: 'till', contract: defineContract({ pay, look }), ...rest })
    const till = implement(service, { start: () => ({ handlers }) as never })
    await expect(wired(till, { NAMESPACE: 'acme' }, { runtime: testRuntime(), clients: {} })).rejects.toThrow(new Error(message))
  })

  test('does not start when its start returns nothing', async () => {
    const service = defineService({ name: 'till', contract: defineContract({ pay }), ...rest })
    const till = implement(service, { start: () => undefined as never })
    await expect(wired(till, { NAMESPACE: 'acme' }, { runtime: testRuntime(), clients: {} })).rejects.toThrow('till has no handler for pay')
  })

  test('does not start when it issues tokens, and verifies none', async () => {
    const service = defineService({ name: 'till', contract: defineContract({ pay: { ...pay, auth: 'user' }, getKeys: jwksOperation }), ...rest })
    const till = implement(service, {
      start: () => ({ handlers: { pay: () => ({ status: 204 }), getKeys: () => ({ status: 200, body: { keys: [] } }) } }) as never,
    })
    const env = { NAMESPACE: 'acme', AUTH_ISSUER: 'https://id.example', AUTH_AUDIENCE: 'acme' }
    await expect(wired(till, env, { runtime: testRuntime(), clients: {} })).rejects.toThrow("pay has auth 'user', and there is no verifier for it")
  })

  test('fetches no keys of users when it verifies their tokens itself', async () => {
    const service = defineService({ name: 'till', contract: defineContract({ pay: { ...pay, auth: 'user' } }), ...rest })
    const till = implement(service, {
      start: () => ({ handlers: { pay: () => ({ status: 204 }) }, verifyUser: async () => ({ kind: 'user', id: 'ada' }) }),
    })
    let asked = 0
    const issuer = await listen((_req, res) => {
      asked++
      res.end('{"keys":[]}')
    })
    onTestFinished(issuer.close)
    const env = { NAMESPACE: 'acme', AUTH_ISSUER: 'https://id.example', AUTH_AUDIENCE: 'acme', AUTH_JWKS_URI: issuer.url }
    const { app, close } = await wired(till, env, { runtime: testRuntime(), clients: {} })
    onTestFinished(close)
    const running = await listen(app)
    onTestFinished(running.close)
    expect((await httpTo(running.url)('POST', '/payments', { token: 'any' })).status).toBe(204)
    expect(asked).toBe(0)
  })
})
