import type { IncomingMessage } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import timers from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { comeIn, type LoadOptions, splitJourney, startLoad } from '../../../scripts/journey/load.ts'
import { defineJourney } from '../../../services/chassis/contract/journey.ts'
import { skipPauses } from '../../support/fake-cluster.ts'
import { listen } from '../../support/http.ts'
import { desk, stock } from '../../support/journey-services.ts'
import { outing } from '../../support/outing.ts'

const { signal } = new AbortController()

const trip = defineJourney(({ call, fresh }) => {
  const email = fresh.email()
  const { accessToken: as } = call(desk, 'logIn', { body: { email, password: fresh.password() } })
  const { id } = call(desk, 'book', { as, params: { id: fresh.id() }, body: { sku: 'bike', names: [email] } })
  call(desk, 'pay', { as, params: { id }, body: { cents: 1 } })
  call(desk, 'get', { as, params: { id }, until: ({ state }) => state === 'held' })
})

interface Request {
  /** E.g. `pay`. */
  name: string
  id: string
  headers: IncomingMessage['headers']
  // biome-ignore lint/suspicious/noExplicitAny: bodies of several operations
  body: any
}

const text = (status: number, body = '') => new Response(body, { status })
const json = (body: unknown, status = 200) => Response.json(body, { status })
const problem = (status: number, code: string) =>
  new Response(JSON.stringify({ code }), { status, headers: { 'content-type': 'application/problem+json' } })

const held = (id: string) => ({ id, state: 'held', seats: [] })

/** What the desk answers when all is well. */
const good: Record<string, (request: Request) => Response> = {
  logIn: ({ body }) => json({ accessToken: `token-of-${body.email}`, expiresIn: 300 }, 201),
  book: ({ id }) => json(held(id), 202),
  pay: ({ id }) => json(held(id), 201),
  get: ({ id }) => json(held(id)),
}

type Answers = Record<string, (request: Request) => Response | 'cut' | Promise<Response>>

/** The desk until the test is over, which notes what it is asked and answers some operations otherwise. */
async function openDesk(otherwise: Answers = {}) {
  const requests: Request[] = []
  const { url, close } = await listen(async (incoming, answer) => {
    const [, collection, id = '', payment] = (incoming.url ?? '').split('/')
    const name = collection === 'sessions' ? 'logIn' : payment ? 'pay' : incoming.method === 'PUT' ? 'book' : 'get'
    const request = { name, id, headers: incoming.headers, body: incoming.method === 'GET' ? undefined : await readJson(incoming) }
    requests.push(request)
    const given = await (otherwise[name] ?? good[name])?.(request)
    if (given === 'cut' || !given) return void incoming.socket.destroy()
    answer.writeHead(given.status, Object.fromEntries(given.headers)).end(await given.text())
  })
  onTestFinished(close)
  const origin = () => url
  return {
    origin,
    asked: (name: string) => requests.filter(request => request.name === name),
    comeIn: (count: number) => comeIn(trip, count, { origin, signal }),
  }
}

/** Offers load for a second of a clock that does not wait for anybody. */
async function loadForOneSecond(options: Omit<LoadOptions, 'signal'>, afterwards = () => {}) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  try {
    const load = startLoad(trip, { signal, ...options })
    await vi.advanceTimersByTimeAsync(1_000)
    afterwards()
    return await load.stop()
  } finally {
    vi.useRealTimers()
  }
}

const namesOf = (steps: readonly { name: string }[]) => steps.map(({ name }) => name)

describe('splitJourney', () => {
  test('has a client come in up to the step that gives it its token, and repeats the rest', () => {
    const { entrance, repeated } = splitJourney(outing)
    expect(namesOf(entrance)).toEqual(['prices', 'price', 'logIn'])
    expect(namesOf(repeated)).toEqual(['book', 'get', 'book', 'pay', 'leave'])
  })

  test('repeats no step that gives somebody a token', () => {
    const two = defineJourney(({ call, fresh }) => {
      const params = { id: fresh.id() }
      const { accessToken: buyer } = call(desk, 'logIn', { body: { email: fresh.email(), password: fresh.password() } })
      call(desk, 'get', { as: buyer, params })
      const { accessToken: seller } = call(desk, 'logIn', { body: { email: fresh.email(), password: fresh.password() } })
      call(desk, 'leave', { as: seller, params })
      call(desk, 'get', { as: buyer, params })
    })
    expect(namesOf(splitJourney(two).entrance)).toEqual(['logIn', 'get', 'logIn'])
  })

  test('repeats everything where nobody comes in', () => {
    const look = defineJourney(({ call, user, fresh }) => {
      call(stock, 'prices', { query: {} })
      call(desk, 'get', { as: user(), params: { id: fresh.id() } })
    })
    const { entrance, repeated } = splitJourney(look)
    expect([namesOf(entrance), namesOf(repeated)]).toEqual([[], ['prices', 'get']])
  })
})

describe('comeIn', () => {
  test('brings in clients of their own, and shows how', async () => {
    const { asked, comeIn: bringIn } = await openDesk()
    const clients = await bringIn(5)
    expect(clients.map(({ taken }) => namesOf(taken.map(({ step }) => step)))).toEqual(Array(5).fill(['logIn']))
    const emails = asked('logIn').map(({ body }) => body.email)
    expect(new Set(emails).size).toBe(5)
    expect(clients.flatMap(({ taken }) => taken.map(({ sent }) => (sent.body as { email: string }).email)).sort()).toEqual(emails.sort())
  })

  test('tells why somebody cannot come in', async () => {
    const { comeIn: bringIn } = await openDesk({ logIn: () => problem(429, 'too-many-attempts') })
    await expect(bringIn(5)).rejects.toMatchObject({
      name: 'CommandError',
      message: 'desk.logIn (step 1 of 4): POST /sessions answered 429 too-many-attempts',
    })
  })

  test('has nobody go on trying once somebody cannot come in', async () => {
    const pauses = vi.spyOn(timers, 'setTimeout')
    onTestFinished(() => pauses.mockRestore())
    let asked = 0
    const { comeIn: bringIn } = await openDesk({
      logIn: async () => {
        if (asked++ === 0) return text(503)
        await vi.waitFor(() => expect(pauses).toHaveBeenCalled())
        return problem(429, 'too-many-attempts')
      },
    })
    await expect(bringIn(2)).rejects.toThrow('429 too-many-attempts')
    expect(pauses.mock.calls.map(([, , options]) => options?.signal?.aborted)).toEqual([true])
  })

  test('ends when it is interrupted', async () => {
    const interrupt = new AbortController()
    const { origin } = await openDesk({
      logIn: () => {
        interrupt.abort(new Error('Ctrl-C'))
        return new Promise(() => {})
      },
    })
    await expect(comeIn(trip, 2, { origin, signal: interrupt.signal })).rejects.toThrow('Ctrl-C')
  })
})

describe('startLoad', () => {
  test('repeats for clients that came in once', async () => {
    const { origin, asked, comeIn: bringIn } = await openDesk()
    const result = await loadForOneSecond({ origin, clients: await bringIn(10), perSecond: 10 })
    expect(result).toMatchObject({
      repetitions: 10,
      failures: [],
      answers: { 'desk.book 202': 10, 'desk.pay 201': 10, 'desk.get 200': 10 },
    })
    expect(result.durationsMs).toHaveLength(30)
    expect(asked('logIn')).toHaveLength(10)
  })

  test('gives each repetition ids and keys of its own, and leaves a client who it is', async () => {
    const { origin, asked, comeIn: bringIn } = await openDesk()
    const clients = await bringIn(2)
    for (let second = 0; second < 2; second++) {
      // One after the other, so that each client has its turn twice.
      const { failures } = await loadForOneSecond({ origin, clients, perSecond: 2 })
      expect(failures).toEqual([])
    }
    const booked = asked('book')
    expect(new Set(booked.map(({ id }) => id)).size).toBe(4)
    expect(
      asked('get')
        .map(({ id }) => id)
        .sort(),
    ).toEqual(booked.map(({ id }) => id).sort())
    expect(new Set(asked('pay').map(({ headers }) => headers['idempotency-key'])).size).toBe(4)
    const tokens = booked.map(({ headers }) => headers.authorization)
    expect(tokens).toEqual(booked.map(({ body }) => `Bearer token-of-${body.names[0]}`))
    expect(new Set(tokens).size).toBe(2)
  })

  test('does not wait for answers to begin the next', async () => {
    const all = Promise.withResolvers<void>()
    let waiting = 0
    const { origin, comeIn: bringIn } = await openDesk({
      book: async ({ id }) => {
        if (++waiting === 10) all.resolve()
        await all.promise
        return json(held(id), 202)
      },
    })
    const { repetitions, failures } = await loadForOneSecond({ origin, clients: await bringIn(10), perSecond: 10 })
    expect([repetitions, failures]).toEqual([10, []])
  })

  test('fails an arrival that finds no client free', async () => {
    const answered = Promise.withResolvers<void>()
    const { origin, comeIn: bringIn } = await openDesk({ book: ({ id }) => answered.promise.then(() => json(held(id), 202)) })
    const { repetitions, failures, answers } = await loadForOneSecond({ origin, clients: await bringIn(3), perSecond: 10 }, answered.resolve)
    expect([repetitions, answers['desk.get 200']]).toEqual([10, 3])
    expect(failures.map(({ reason }) => reason)).toEqual(Array(7).fill('none of 3 clients was free'))
  })

  test.each<[string, string, Answers[string], object]>([
    ['an undeclared status', 'pay', () => text(418, 'teapot'), { status: 418, reason: 'POST /bookings/{id}/payment answered 418 teapot' }],
    ['an undeclared success', 'pay', () => json({}), { status: 200, reason: 'POST /bookings/{id}/payment answered 200 {}' }],
    ['a declared problem', 'book', () => problem(409, 'taken'), { status: 409, reason: 'PUT /bookings/{id} answered 409 taken' }],
    ['overload, which may pass', 'book', () => problem(503, 'overloaded'), { status: 503, reason: 'PUT /bookings/{id} answered 503 overloaded' }],
    ['a route that is not there', 'get', () => text(404), { status: 404, reason: 'GET /bookings/{id} answered 404' }],
    [
      'a body that the contract does not promise',
      'get',
      () => json({ state: 'held' }),
      {
        status: 200,
        reason:
          'GET /bookings/{id} answered 200 with a body that its contract does not promise: id: Invalid input: expected string, received undefined',
      },
    ],
    [
      'an answer without what a later step needs',
      'book',
      () => new Response(null, { status: 202 }),
      {
        status: 202,
        reason: 'PUT /bookings/{id} answered 202 with a body that its contract does not promise: it: Invalid input: expected object, received string',
      },
    ],
    ['no answer at all', 'get', () => 'cut', { status: undefined, reason: 'GET /bookings/{id} got no answer (UND_ERR_SOCKET)' }],
  ])('counts %s as failed, and does not try again', async (_, name, answer, { reason, ...failure }: { reason?: string }) => {
    const { origin, asked, comeIn: bringIn } = await openDesk({ [name]: answer })
    const { repetitions, failures } = await loadForOneSecond({ origin, clients: await bringIn(1), perSecond: 1 })
    const step = splitJourney(trip).repeated.findIndex(candidate => candidate.name === name) + 2
    expect([repetitions, failures]).toEqual([
      1,
      [{ atMs: expect.any(Number), title: `desk.${name}`, ...failure, reason: `desk.${name} (step ${step} of 4): ${reason}` }],
    ])
    expect(asked(name)).toHaveLength(1)
    // What comes after it is not asked for.
    expect(['book', 'pay', 'get'].map(other => asked(other).length)).toEqual([1, Number(step > 2), Number(step > 3)])
  })

  test('leaves a client out whose repetition has failed', async () => {
    let paid = 0
    const { origin, asked, comeIn: bringIn } = await openDesk({ pay: ({ id }) => (++paid === 1 ? text(500) : json(held(id), 201)) })
    const clients = await bringIn(2)
    const load = startLoad(trip, { origin, signal, clients, perSecond: 20 })
    await vi.waitFor(() => expect(asked('get').length).toBeGreaterThan(2), { timeout: 5_000 })
    const { failures } = await load.stop()
    expect(failures[0]).toMatchObject({ title: 'desk.pay', status: 500 })
    expect(failures.slice(1).filter(({ reason }) => reason !== 'none of 2 clients was free')).toEqual([])
    const [failed, ...others] = asked('pay').map(({ headers }) => headers.authorization)
    expect(others).not.toContain(failed)
  })

  test('asks again for what the journey waits for', async () => {
    skipPauses()
    const looks = new Map<string, number>()
    const done = Promise.withResolvers<void>()
    const { origin, comeIn: bringIn } = await openDesk({
      get: ({ id }) => {
        looks.set(id, (looks.get(id) ?? 0) + 1)
        if (looks.get(id) === 2) done.resolve()
        return json({ ...held(id), state: looks.get(id) === 2 ? 'held' : 'pending' })
      },
    })
    const load = startLoad(trip, { origin, signal, clients: await bringIn(20), perSecond: 1 })
    await done.promise
    const { repetitions, failures, answers } = await load.stop()
    expect(failures).toEqual([])
    expect(answers['desk.get 200']).toBe(2 * repetitions)
  })

  test('fails what the journey waits for in vain', async () => {
    skipPauses()
    const { origin, asked, comeIn: bringIn } = await openDesk({ get: ({ id }) => json({ ...held(id), state: 'pending' }) })
    const clients = await bringIn(20)
    const load = startLoad(trip, { origin, signal, clients, perSecond: 1, stepTimeoutMs: 2_000 })
    await vi.waitFor(() => expect(asked('get').length).toBeGreaterThan(4), { timeout: 5_000 })
    const { failures } = await load.stop()
    expect(failures[0]).toMatchObject({
      title: 'desk.get',
      status: 200,
      reason: expect.stringContaining('"state":"pending","seats":[]}, still after 2 s'),
    })
  })

  test('ends when it is interrupted', async () => {
    const interrupt = new AbortController()
    const { origin, asked, comeIn: bringIn } = await openDesk({ book: () => new Promise(() => {}) })
    const clients = await bringIn(20)
    const load = startLoad(trip, { origin, signal: interrupt.signal, clients, perSecond: 50 })
    await vi.waitFor(() => expect(asked('book').length).toBeGreaterThan(0), { timeout: 5_000 })
    interrupt.abort(new Error('Ctrl-C'))
    await expect(load.stop()).rejects.toThrow('Ctrl-C')
  })
})
