import { describe, expect, test } from 'vitest'
import { type RunOptions, runJourney } from '../../../scripts/journey/run-journey.ts'
import type { Taken } from '../../../scripts/journey/take-step.ts'
import { toRun } from '../../../scripts/remedy.ts'
import { defineJourney, type Journey } from '../../../services/chassis/contract/journey.ts'
import { answering, hangingUp, type Routes, skipPauses } from '../../support/fake-cluster.ts'
import { desk, stock } from '../../support/journey-services.ts'
import { AWKWARD, outing, serveOuting } from '../../support/outing.ts'

const { signal } = new AbortController()

const run = (journey: Journey, url: string, more: Partial<RunOptions> = {}) => runJourney(journey, { origin: () => url, signal, ...more })

const ID = '0193a0c2-5a3e-7cc1-9d5e-6a1f0c2b4d10'
const look = defineJourney(({ call, user }) => {
  call(desk, 'get', { as: user(), params: { id: ID }, until: ({ state }) => state === 'held' })
})
const pay = defineJourney(({ call, user }) => {
  call(desk, 'pay', { as: user(), params: { id: ID }, body: { cents: 1 } })
})
const logIn = defineJourney(({ call, fresh }) => {
  const { accessToken } = call(desk, 'logIn', { body: { email: fresh.email(), password: fresh.password() } })
  call(desk, 'get', { as: accessToken, params: { id: ID } })
})
/** Refers to what only a refused booking has. */
const again = defineJourney(({ call, user }) => {
  const { refusal } = call(desk, 'get', { as: user(), params: { id: ID } })
  call(stock, 'price', { params: { sku: refusal.code } })
})
const userToken = async (name: string) => `token-of-${name}`

const booking = (state: 'pending' | 'held') => ({ id: ID, state, seats: [] })
const json = (body: unknown, status = 200) => Response.json(body, { status })
const problem = (status: number, code: string) =>
  new Response(JSON.stringify({ code }), { status, headers: { 'content-type': 'application/problem+json' } })
const text = (status: number, body = '') => new Response(body, { status })

/** Gives one answer after the other, and the last one for ever. */
function inTurn(...answers: (() => Response)[]) {
  let asked = 0
  const route: Routes[string] = () => (answers[Math.min(asked++, answers.length - 1)] as () => Response)()
  return { route, asked: () => asked }
}

describe('runJourney', () => {
  test('takes every step with what earlier ones answered, and tells what was seen', async () => {
    skipPauses()
    const { asked, origin } = await serveOuting()
    const taken = await runJourney(outing, { origin, signal })
    expect(taken.map(({ title, status }) => `${title} ${status}`)).toEqual([
      'stock.prices 200',
      'stock.price 200',
      'desk.logIn 201',
      'desk.book 202',
      'desk.get 200',
      'desk.book 202',
      'desk.pay 201',
      'desk.leave 204',
    ])
    const { accessToken } = (taken[2] as Taken<{ accessToken: string }>).body
    expect(accessToken).toMatch(/^token-of-journey-\w+$/)
    const email = `${accessToken.replace('token-of-', '')}@example.org`
    expect(taken[3]?.body).toMatchObject({ seats: [AWKWARD, 'two  spaces *', email].map(name => ({ row: 300, name })) })
    expect(taken[4]?.body).toMatchObject({ state: 'held' })
    expect(new Set(taken.map(({ traceId }) => traceId)).size).toBe(8)
    expect(asked).toEqual([
      'prices EUR',
      `price ${AWKWARD}`,
      'logIn',
      `book 300 ${AWKWARD}`,
      'get pending',
      'get held',
      'book 0 two  spaces *',
      'pay 1 true',
      'leave true',
    ])
  })

  test('asks by the host, within the trace, and with the token of a user that it is given', async () => {
    const seen: unknown[] = []
    const url = await answering({
      [`/bookings/${ID}`]: (_, { headers }) => {
        seen.push([headers.host, headers.traceparent?.slice(0, 36), headers.authorization])
        return json(booking('held'))
      },
    })
    const traceId = '1'.repeat(32)
    await run(look, url, { host: 'acme.localhost', traceId: () => traceId, userToken })
    expect(seen).toEqual([['acme.localhost', `00-${traceId}-`, 'Bearer token-of-ada']])
  })

  test('wants somebody who gives the tokens of users', async () => {
    await expect(run(look, 'http://127.0.0.1:9')).rejects.toMatchObject({
      name: 'CommandError',
      message: "desk.get (step 1 of 1): the access token of a user ('ada') is wanted, and nobody here gives one",
    })
  })

  test.each<[string, Journey, string, (() => Response)[]]>([
    ['a route that the ingress does not have yet', look, `/bookings/${ID}`, [() => text(404, '404 page not found'), () => json(booking('held'))]],
    [
      'a POST that no pod has taken',
      logIn,
      '/sessions',
      [() => text(503, 'no available server'), () => json({ accessToken: 'a', expiresIn: 300 }, 201)],
    ],
    ['a GET that failed on its way', look, `/bookings/${ID}`, [() => text(502), () => text(504), () => json(booking('held'))]],
    ['a POST with its idempotency key', pay, `/bookings/${ID}/payment`, [() => text(502), () => json(booking('held'), 201)]],
    ['what it waits for', look, `/bookings/${ID}`, [() => json(booking('pending')), () => json(booking('held'))]],
  ])('tries again: %s', async (_, journey, path, answers) => {
    skipPauses()
    const { route, asked } = inTurn(...answers)
    const url = await answering({ [`/bookings/${ID}`]: () => json(booking('held')), [path]: route })
    await run(journey, url, { userToken })
    expect(asked()).toBe(answers.length)
  })

  test('keeps the idempotency key when it tries again', async () => {
    skipPauses()
    const keys: unknown[] = []
    const url = await answering({
      [`/bookings/${ID}/payment`]: (_, { headers }) => {
        keys.push(headers['idempotency-key'])
        return keys.length < 2 ? text(503) : json(booking('held'), 201)
      },
    })
    await run(pay, url, { userToken })
    expect(keys).toEqual([expect.stringMatching(/^\w{24}$/), keys[0]])
  })

  test.each<[string, Journey, string, () => Response, string]>([
    [
      'a problem',
      look,
      `/bookings/${ID}`,
      () => problem(404, 'unknown-booking'),
      'desk.get (step 1 of 1): GET /bookings/{id} answered 404 unknown-booking',
    ],
    [
      'a POST that may have had its effect',
      logIn,
      '/sessions',
      () => text(502, 'Bad Gateway\n'),
      'desk.logIn (step 1 of 2): POST /sessions answered 502 Bad Gateway',
    ],
    [
      'an answer that is not in the contract',
      look,
      `/bookings/${ID}`,
      () => json({}, 201),
      'desk.get (step 1 of 1): GET /bookings/{id} answered 201 {}',
    ],
    [
      'an answer that lacks what its contract promises',
      logIn,
      '/sessions',
      () => json({ expiresIn: 300 }, 201),
      'desk.logIn (step 1 of 2): POST /sessions answered 201 with a body that its contract does not promise: accessToken: Invalid input: expected string, received undefined',
    ],
    [
      'an answer in which something is of another type',
      look,
      `/bookings/${ID}`,
      () => json({ ...booking('held'), seats: [{ row: 'a', name: 'Ada' }] }),
      'desk.get (step 1 of 1): GET /bookings/{id} answered 200 with a body that its contract does not promise: seats.0.row: Invalid input: expected number, received string',
    ],
    [
      'an answer that is no JSON',
      look,
      `/bookings/${ID}`,
      () => text(200, 'held'),
      'desk.get (step 1 of 1): GET /bookings/{id} answered 200 with a body that its contract does not promise: it: Invalid input: expected object, received string',
    ],
    [
      'an answer without the member that is referred to',
      again,
      `/bookings/${ID}`,
      () => json(booking('held')),
      'stock.price (step 2 of 2): the answer of desk.get has no refusal.code',
    ],
  ])('fails at once: %s', async (_, journey, path, answer, message) => {
    const { route, asked } = inTurn(answer)
    await expect(run(journey, await answering({ [path]: route }), { userToken })).rejects.toMatchObject({ name: 'CommandError', message })
    expect(asked()).toBe(1)
  })

  test.each<[string, () => Response, string]>([
    ['the last answer', () => json(booking('pending')), `answered 200 {"id":"${ID}","state":"pending","seats":[]}`],
    ['the last trouble', () => problem(503, 'overloaded'), 'answered 503 overloaded'],
  ])('gives up after its time and tells %s', async (_, answer, last) => {
    skipPauses()
    const url = await answering({ [`/bookings/${ID}`]: answer })
    await expect(run(look, url, { userToken, stepTimeoutMs: 3_000, logs: service => `npx fairlead logs ${service}` })).rejects.toMatchObject({
      message: `desk.get (step 1 of 1): GET /bookings/{id} ${last}, still after 3 s`,
      remedy: toRun('npx fairlead logs desk'),
    })
  })

  test('lets members be that the contract does not know: a newer version may say more', async () => {
    const url = await answering({ [`/bookings/${ID}`]: () => json({ ...booking('held'), gate: 7 }) })
    await expect(run(look, url, { userToken })).resolves.toHaveLength(1)
  })

  test('tells that nobody answers', async () => {
    skipPauses()
    await expect(run(logIn, 'http://127.0.0.1:9', { stepTimeoutMs: 1_000 })).rejects.toThrow('got no answer (ECONNREFUSED), still after 1 s')
    await expect(run(logIn, await hangingUp())).rejects.toThrow(/^desk\.logIn \(step 1 of 2\): POST \/sessions got no answer \(\w+\)$/)
  })

  test('ends when it is interrupted, and says nothing else', async () => {
    const stop = new AbortController()
    const url = await answering({
      '/prices': () => {
        stop.abort(new Error('Ctrl-C'))
        return text(503)
      },
    })
    const prices = defineJourney(({ call }) => {
      call(stock, 'prices', { query: {} })
    })
    await expect(run(prices, url, { signal: stop.signal })).rejects.toThrow('Ctrl-C')
  })
})
