import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { type ClientOptions, createClient } from '../../../services/chassis/client/client.ts'
import { CallError } from '../../../services/chassis/contract/call-error.ts'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { defineService } from '../../../services/chassis/contract/graph.ts'
import { freePort } from '../../../services/chassis/local/ports.ts'
import { testRuntime } from '../../support/runtime.ts'

const thing = { description: 'The thing', body: strict({ name: z.string() }) }
const contract = defineContract({
  getThing: {
    method: 'GET',
    path: '/things/{id}',
    summary: 'One thing',
    auth: 'user',
    params: z.object({ id: z.string() }),
    responses: { 200: thing },
    problems: { 404: ['unknown-thing'] },
  },
  findThings: {
    method: 'GET',
    path: '/things',
    summary: 'Some things',
    auth: 'none',
    query: z.object({ name: z.string(), page: z.string() }),
    responses: { 200: thing },
  },
  putThing: {
    method: 'PUT',
    path: '/things/{id}',
    summary: 'Replaces a thing',
    auth: 'none',
    params: z.object({ id: z.string() }),
    body: strict({ name: z.string() }),
    responses: { 200: thing, 204: { description: 'Done' } },
  },
  sealThing: {
    method: 'PUT',
    path: '/things/{id}/seal',
    summary: 'Seals a thing',
    auth: 'workload',
    params: z.object({ id: z.string() }),
    responses: { 204: { description: 'Done' } },
  },
  addThing: { method: 'POST', path: '/things', summary: 'Adds a thing', auth: 'none', body: strict({ name: z.string() }), responses: { 201: thing } },
})
const service = {
  timeoutMs: 5_000,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 100, objective: 0.9 } },
  scale: { min: 1, max: 1 },
}
const callee = defineService({ ...service, name: 'callee', port: 8080, contract, calls: [] })
const callerWith = (attemptTimeoutMs: number) =>
  defineService({ ...service, name: 'caller', port: 8081, contract: {}, calls: [{ to: callee, mode: 'required', attemptTimeoutMs, maxAttempts: 3 }] })

type Handler = (req: IncomingMessage, res: ServerResponse, n: number) => void

const json = (res: ServerResponse, status: number, body: unknown) => {
  res.writeHead(status, { 'content-type': status >= 400 ? 'application/problem+json' : 'application/json' })
  res.end(JSON.stringify(body))
}
const ok: Handler = (_req, res) => json(res, 200, { name: 'x' })
const refuse =
  (status: number, code: string): Handler =>
  (_req, res) =>
    json(res, status, { status, code, detail: 'No' })

interface Callee {
  port: number
  requests: IncomingMessage[]
  /** Number of requests by the address that they came to. */
  byAddress: Record<string, number>
  handler: Handler
}

// As it is, and seen.
vi.mock('node:timers/promises', async original => {
  const { setTimeout } = await original<typeof import('node:timers/promises')>()
  return { setTimeout: vi.fn(setTimeout) }
})

/** A callee on some addresses of this machine, all with the same port. */
async function startCallee(handler: Handler = ok, addresses = ['127.0.0.1']): Promise<Callee> {
  const started: Callee = { port: 0, requests: [], byAddress: {}, handler }
  const servers: Server[] = []
  onTestFinished(() => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  })
  for (const address of addresses) {
    const server = createServer((req, res) => {
      started.requests.push(req)
      started.byAddress[address] = (started.byAddress[address] ?? 0) + 1
      req.resume()
      started.handler(req, res, started.requests.length)
    })
    servers.push(server)
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(started.port, address, resolve))
    started.port = (server.address() as AddressInfo).port
  }
  return started
}

/** With attempts of 2 s, a circuit that stays closed and no wait between attempts, unless a test says otherwise. */
function clientOf(port: number, { attemptTimeoutMs = 2_000, ...options }: Partial<ClientOptions> & { attemptTimeoutMs?: number } = {}) {
  const runtime = testRuntime('caller')
  const client = createClient(callerWith(attemptTimeoutMs), 'callee', {
    ...runtime,
    host: `callee:${port}`,
    lookup: async () => ['127.0.0.1'],
    breaker: { minimumRps: 1_000_000 },
    random: () => 0,
    ...options,
  })
  onTestFinished(client.close)
  const get = (scope = runtime.scope()) => client.call(scope, 'getThing', { params: { id: '7' } })
  const add = (scope = runtime.scope()) => client.call(scope, 'addThing', { body: { name: 'x' } })
  return {
    runtime,
    client,
    get,
    add,
    failure: (call: Promise<unknown>) =>
      call.then(
        () => undefined,
        (error: unknown) => {
          expect(error).toBeInstanceOf(CallError)
          return error as CallError
        },
      ),
    /** Earns `retries` in the retry budget. */
    save: async (retries: number) => {
      for (let n = 0; n < retries * 5; n++) await get()
    },
    spans: () => runtime.spans.getFinishedSpans().filter(span => span.kind === SpanKind.CLIENT),
  }
}

/** A listening address that nobody accepts on: once its queue is full, a connection is neither made nor refused. */
async function blackHole(port: number, address: string) {
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     const server = require('node:net').createServer()
     server.listen({ ...workerData, backlog: 1 }, () => {
       parentPort.postMessage('up')
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
     })`,
    { eval: true, workerData: { port, host: address } },
  )
  const fillers: ReturnType<typeof connect>[] = []
  onTestFinished(async () => {
    for (const filler of fillers) filler.destroy()
    await worker.terminate()
  })
  await new Promise(resolve => worker.once('message', resolve))
  for (let full = false; !full; ) {
    const filler = connect(port, address).on('error', () => {})
    fillers.push(filler)
    full = await Promise.race([new Promise<boolean>(resolve => filler.once('connect', () => resolve(false))), sleep(100, true)])
  }
}

describe('client.call', () => {
  test('sends what the operation takes and gives the answer', async () => {
    const { port, requests } = await startCallee(async (req, res) => {
      const chunks: Buffer[] = []
      for await (const chunk of req) chunks.push(chunk)
      json(res, 200, { name: Buffer.concat(chunks).toString() })
    })
    const { client, runtime } = clientOf(port)
    const answer = await client.call(runtime.scope(), 'putThing', { params: { id: 'a/b ü' }, body: { name: 'x' }, token: 't.o.k' })
    expect(answer).toEqual({ status: 200, body: { name: '{"name":"x"}' } })
    expect(requests[0]).toMatchObject({
      method: 'PUT',
      url: '/things/a%2Fb%20%C3%BC',
      headers: { host: `callee:${port}`, 'content-type': 'application/json', authorization: 'Bearer t.o.k' },
    })
  })

  test('sends a query, and no body and no token where there are none', async () => {
    const { port, requests } = await startCallee()
    const { client, runtime } = clientOf(port)
    await client.call(runtime.scope(), 'findThings', { query: { name: 'a&b=c', page: '2' } })
    expect(requests[0]).toMatchObject({ method: 'GET', url: '/things?name=a%26b%3Dc&page=2' })
    expect(Object.keys(requests[0]?.headers ?? {}).toSorted()).toEqual(['connection', 'host', 'traceparent', 'x-request-timeout-ms'])
  })

  test('sends its own token, as it is at the moment, with what wants a workload, and with nothing else', async () => {
    const { port, requests } = await startCallee((req, res) => (req.method === 'PUT' ? void res.writeHead(204).end() : json(res, 200, { name: 'x' })))
    let token = 'first'
    const { client, get, runtime } = clientOf(port, { workloadToken: () => token })
    const seal = () => client.call(runtime.scope(), 'sealThing', { params: { id: '7' } })
    await seal()
    token = 'renewed'
    await seal()
    await get()
    expect(requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer first', 'Bearer renewed', undefined])
  })

  test('a declared answer without a body has none', async () => {
    const { port } = await startCallee((_req, res) => void res.writeHead(204).end())
    const { client, runtime } = clientOf(port)
    expect(await client.call(runtime.scope(), 'putThing', { params: { id: '7' }, body: { name: 'x' } })).toEqual({ status: 204, body: undefined })
  })

  test.each([
    [404, 'unknown-thing'],
    [422, 'something-new'],
  ])("the callee's problem %i %s is an answer and no failure", async (status, code) => {
    const { port, requests } = await startCallee(refuse(status, code))
    const { get, runtime, spans } = clientOf(port, { breaker: { threshold: 0.1, windowMs: 1_000, minimumRps: 1 } })
    for (let n = 0; n < 20; n++) expect(await get()).toEqual({ status, problem: { status, code, detail: 'No' } })
    expect(requests).toHaveLength(20)
    expect(await runtime.metric('http_client_circuit_state{peer_service="callee"}')).toBe(0)
    expect(spans()[0]?.status.code).toBe(SpanStatusCode.UNSET)
  })

  test.each([
    ['a 500', refuse(500, 'internal'), 'status-500'],
    ['a 4xx without a problem', (_req, res) => void res.writeHead(404).end('not here'), 'status-404'],
    ['a redirect', (_req, res) => void res.writeHead(302, { location: '/' }).end(), 'status-302'],
    ['an undeclared success', (_req, res) => json(res, 202, { name: 'x', code: 'y' }), 'status-202'],
    ['a declared status without its body', (_req, res) => void res.writeHead(200, { 'content-type': 'text/html' }).end('<p>'), 'status-200'],
  ] satisfies [string, Handler, string][])('%s is a CallError with the status, and is not tried again', async (_name, handler, code) => {
    const started = await startCallee()
    const { get, save, failure } = clientOf(started.port)
    await save(2)
    started.requests.length = 0
    started.handler = handler
    expect(await failure(get())).toMatchObject({ code, status: Number(code.slice(-3)) })
    expect(started.requests).toHaveLength(1)
  })

  test.each([
    ['that is not the JSON it says', (_req, res) => void res.writeHead(200, { 'content-type': 'application/json' }).end('{"name":')],
    [
      'that breaks off',
      (_req, res) => void res.writeHead(200, { 'content-type': 'application/json', 'content-length': 50 }).write('{"name"', () => res.destroy()),
    ],
    ['that is no HTTP', (_req, res) => void res.socket?.end('hello\r\n\r\n')],
    ['larger than 1 MiB', (_req, res) => json(res, 200, { name: 'x'.repeat(1_048_576 - '{"name":""}'.length + 1) })],
  ] satisfies [string, Handler][])('an answer %s is a CallError', async (_name, handler) => {
    const { port, requests } = await startCallee(handler)
    const { add, failure } = clientOf(port)
    expect(await failure(add())).toMatchObject({ code: 'unreachable', cause: expect.any(Error) })
    expect(requests).toHaveLength(1)
  })

  test('an answer of 1 MiB is taken', async () => {
    const name = 'x'.repeat(1_048_576 - '{"name":""}'.length)
    const { port } = await startCallee((_req, res) => json(res, 200, { name }))
    expect(await clientOf(port).get()).toEqual({ status: 200, body: { name } })
  })

  test('without an edge throws when it is made', () => {
    // @ts-expect-error the graph has no such edge
    expect(() => createClient(callee, 'caller', testRuntime())).toThrow('callee has no edge to caller')
  })
})

describe('addresses', () => {
  test('are called in turn', async () => {
    const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
    const { port, byAddress } = await startCallee(ok, addresses)
    const { get } = clientOf(port, { lookup: async () => addresses })
    for (let n = 0; n < 30; n++) await get()
    expect(byAddress).toEqual({ '127.0.0.1': 10, '127.0.0.2': 10, '127.0.0.3': 10 })
  })

  test('are called in turn by calls at once, too', async () => {
    const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
    const { port, byAddress } = await startCallee(ok, addresses)
    const { get } = clientOf(port, { lookup: async () => addresses })
    await Promise.all(Array.from({ length: 30 }, () => get()))
    expect(byAddress).toEqual({ '127.0.0.1': 10, '127.0.0.2': 10, '127.0.0.3': 10 })
  })

  test('that refuse the connection are passed over within the attempt, whatever the method', async () => {
    const { port, requests } = await startCallee((req, res) => json(res, req.method === 'POST' ? 201 : 200, { name: 'x' }))
    const { get, add, runtime, spans } = clientOf(port, { lookup: async () => ['127.0.0.2', '127.0.0.1'] })
    for (let n = 0; n < 4; n++) expect((await get()).status).toBe(200)
    for (let n = 0; n < 4; n++) expect((await add()).status).toBe(201)
    expect(requests).toHaveLength(8)
    expect(spans()).toHaveLength(8)
    expect(await runtime.metric('http_client_retries_total{peer_service="callee"}')).toBe(0)
  })

  test('that do not take the connection within 250 ms are passed over as well', async () => {
    const { port, requests } = await startCallee((_req, res) => json(res, 201, { name: 'x' }))
    await blackHole(port, '127.0.0.2')
    // A machine that is busy elsewhere may spend the attempt's time on nothing, hence several tries.
    await vi.waitFor(
      async () => {
        const { add, spans } = clientOf(port, { attemptTimeoutMs: 480, lookup: async () => ['127.0.0.1', '127.0.0.2'] })
        requests.length = 0
        await add()
        expect((await add()).status).toBe(201)
        expect(requests).toHaveLength(2)
        expect(spans()).toHaveLength(2)
      },
      { timeout: 10_000 },
    )
  })

  test.each(['127.0.0.2', '::1'])('that refuse are left alone by the calls after: %s', async dead => {
    const { port } = await startCallee()
    const { get, runtime } = clientOf(port, { lookup: async () => ['127.0.0.1', dead] })
    for (let n = 0; n < 10; n++) await get()
    expect(await runtime.metric('discovery_ejections_total{peer_service="callee"}')).toBe(1)
    expect(await runtime.metric('discovery_ejected_addresses{peer_service="callee"}')).toBe(1)
  })

  test('that take no connection are left alone even where an attempt is over before that is known', async () => {
    const { port } = await startCallee()
    await blackHole(port, '127.0.0.2')
    const { get, runtime } = clientOf(port, { attemptTimeoutMs: 150, lookup: async () => ['127.0.0.1', '127.0.0.2'] })
    const ejections = () => runtime.metric('discovery_ejections_total{peer_service="callee"}')
    await vi.waitFor(async () => {
      await get().catch(() => {})
      expect(await ejections()).toBe(1)
    })
    expect((await get()).status).toBe(200)
  })

  test('that all refuse make a CallError, and are tried by the next call all the same', async () => {
    const started = await startCallee()
    const lookup = async () => ['127.0.0.2', '127.0.0.3']
    const { get, failure, runtime } = clientOf(started.port, { lookup })
    const ejected = () => runtime.metric('discovery_ejected_addresses{peer_service="callee"}')
    for (let n = 0; n < 3; n++) expect(await failure(get())).toMatchObject({ code: 'unreachable', cause: { code: 'ECONNREFUSED' } })
    const late = createServer((req, res) => ok(req, res, 1))
    onTestFinished(() => void late.close())
    await new Promise<void>(resolve => late.listen(started.port, '127.0.0.3', resolve))
    expect(await ejected()).toBe(2)
    expect((await get()).status).toBe(200)
    expect(await ejected()).toBe(1)
  })

  test('that all refuse make a CallError', async () => {
    const { add, failure } = clientOf(await freePort(), { lookup: async () => ['127.0.0.1', '127.0.0.2'] })
    expect(await failure(add())).toMatchObject({ code: 'unreachable', cause: { code: 'ECONNREFUSED' } })
  })

  test('that cannot be found make a CallError', async () => {
    const { add, failure } = clientOf(await freePort(), { lookup: () => Promise.reject(new Error('ENOTFOUND')) })
    expect(await failure(add())).toMatchObject({ code: 'unreachable', cause: { message: 'ENOTFOUND' } })
  })

  test('may be IPv6', async () => {
    const { port, requests } = await startCallee(ok, ['::1'])
    const { get } = clientOf(port, { lookup: async () => ['::1'] })
    expect((await get()).status).toBe(200)
    expect(requests[0]?.headers.host).toBe(`callee:${port}`)
  })
})

describe('the deadline', () => {
  const sent = ({ requests }: Callee) => requests.map(request => Number(request.headers['x-request-timeout-ms']))

  test('of the edge is sent where the request has more time', async () => {
    const started = await startCallee()
    await clientOf(started.port, { attemptTimeoutMs: 400 }).get()
    expect(sent(started)[0]).toBeLessThanOrEqual(400)
    expect(sent(started)[0]).toBeGreaterThan(200)
  })

  test('of the request, less a margin, is sent where it is nearer, and shrinks from attempt to attempt', async () => {
    const started = await startCallee()
    const { save, get, client, runtime } = clientOf(started.port)
    await save(2)
    started.requests.length = 0
    started.handler = (req, res, n) => void setTimeout(() => (n === 1 ? refuse(503, 'unavailable') : ok)(req, res, n), 60)
    await get(runtime.scope(350))
    const [first, second] = sent(started) as [number, number]
    expect(first).toBeLessThanOrEqual(330)
    expect(first).toBeGreaterThan(200)
    expect(second).toBeLessThanOrEqual(first - 55)
    await client.call(runtime.scope(350), 'getThing', { params: { id: '7' }, marginMs: 200 })
    expect(sent(started)[2]).toBeLessThanOrEqual(150)
  })

  test.each([
    ['is spent', 1],
    ['is as near as the margin', 15],
  ])('that %s makes a CallError without a request', async (_name, budgetMs) => {
    const { port, requests } = await startCallee()
    const { get, runtime, failure, spans } = clientOf(port)
    expect(await failure(get(runtime.scope(budgetMs)))).toMatchObject({ code: 'deadline-exceeded' })
    expect(requests).toEqual([])
    expect(spans()).toEqual([])
  })

  test('of an attempt ends it, and the next one may succeed', async () => {
    const started = await startCallee()
    const { save, get, runtime } = clientOf(started.port, { attemptTimeoutMs: 300 })
    await save(2)
    started.requests.length = 0
    started.handler = (req, res, n) => void (n === 1 || ok(req, res, n))
    expect((await get()).status).toBe(200)
    expect(started.requests).toHaveLength(2)
    expect(started.requests[0]?.destroyed).toBe(true)
    expect(await runtime.metric('http_client_retries_total{peer_service="callee"}')).toBe(1)
  })

  test('of the request bounds all attempts', async () => {
    const started = await startCallee()
    const { save, client, runtime, failure } = clientOf(started.port, { attemptTimeoutMs: 300 })
    await save(2)
    started.handler = () => {}
    const scope = runtime.scope(600)
    const call = client.call(scope, 'getThing', { params: { id: '7' }, marginMs: 200 })
    expect((await failure(call))?.code).toMatch(/^(timeout|deadline-exceeded)$/)
    expect(scope.deadline.signal.aborted).toBe(false)
  })

  test('holds while the answer trickles in', async () => {
    const { port } = await startCallee((_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json' })
      const trickle = setInterval(() => res.write(' '), 20)
      res.on('close', () => clearInterval(trickle))
    })
    const { add, runtime, failure } = clientOf(port)
    expect(await failure(add(runtime.scope(200)))).toMatchObject({ code: 'timeout' })
  })

  test('holds while DNS hangs', async () => {
    const { get, runtime, failure } = clientOf(await freePort(), { attemptTimeoutMs: 150, lookup: () => new Promise(() => {}) })
    const scope = runtime.scope(900)
    expect(await failure(get(scope))).toMatchObject({ code: 'timeout' })
    expect(scope.deadline.signal.aborted).toBe(false)
  })
})

describe('retries', () => {
  test.each([
    ['502', refuse(502, 'bad-gateway')],
    ['503', refuse(503, 'unavailable')],
    ['503 without a problem', (_req, res) => void res.writeHead(503).end()],
    ['504', refuse(504, 'deadline-exceeded')],
    ['a closed connection', (req, _res) => void req.socket.destroy()],
  ] satisfies [string, Handler][])('make up for %s where the operation is idempotent', async (_name, handler) => {
    const started = await startCallee()
    const { save, client, runtime } = clientOf(started.port)
    await save(3)
    started.requests.length = 0
    started.handler = (req, res, n) => (n <= 2 ? handler : ok)(req, res, n)
    const answer = await client.call(runtime.scope(), 'putThing', { params: { id: '7' }, body: { name: 'x' } })
    expect(answer.status).toBe(200)
    expect(started.requests).toHaveLength(3)
  })

  test.each([
    ['503', refuse(503, 'unavailable'), 'status-503'],
    ['a closed connection', (req: IncomingMessage) => void req.socket.destroy(), 'unreachable'],
    ['silence', () => {}, 'timeout'],
  ] satisfies [string, Handler, string][])('of a POST are not made after %s: it may have had its effect', async (_name, handler, code) => {
    const addresses = ['127.0.0.1', '127.0.0.2']
    const started = await startCallee(ok, addresses)
    const { save, add, runtime, failure } = clientOf(started.port, { lookup: async () => addresses })
    await save(3)
    started.requests.length = 0
    started.handler = handler
    expect(await failure(add(runtime.scope(300)))).toMatchObject({ code })
    expect(started.requests).toHaveLength(1)
  })

  test('end with the number of attempts that the edge allows', async () => {
    const started = await startCallee()
    const { save, get, failure } = clientOf(started.port)
    await save(5)
    started.requests.length = 0
    started.handler = refuse(503, 'unavailable')
    expect(await failure(get())).toMatchObject({ code: 'status-503', status: 503 })
    expect(started.requests).toHaveLength(3)
  })

  test('are not made of 503 overloaded', async () => {
    const started = await startCallee()
    const { save, get, failure } = clientOf(started.port)
    await save(3)
    started.requests.length = 0
    started.handler = refuse(503, 'overloaded')
    expect(await failure(get())).toMatchObject({ code: 'status-503' })
    expect(started.requests).toHaveLength(1)
  })

  test('of 100 calls that all fail are exactly the 20 of the budget', async () => {
    const { port, requests } = await startCallee(refuse(503, 'unavailable'))
    const { get, failure, runtime } = clientOf(port)
    for (let n = 0; n < 100; n++) expect(await failure(get())).toMatchObject({ code: 'status-503' })
    expect(requests).toHaveLength(120)
    expect(await runtime.metric('http_client_retries_total{peer_service="callee"}')).toBe(20)
  })

  test('of 100 failing calls at once are the 10 that the budget saves up', async () => {
    const { port, requests } = await startCallee(refuse(503, 'unavailable'))
    const { get, failure } = clientOf(port)
    await Promise.all(Array.from({ length: 100 }, () => failure(get())))
    expect(requests).toHaveLength(110)
  })

  test('never send more than 1.2 times the calls offered while half of the answers are 503', async () => {
    // Half of the requests, in a pattern that no retry can be in step with.
    const half = (n: number) => createHash('sha256').update(String(n)).digest().readUInt8() < 128
    const { port, requests } = await startCallee((req, res, n) => (half(n) ? refuse(503, 'unavailable') : ok)(req, res, n))
    const { get, failure } = clientOf(port)
    for (let n = 0; n < 200; n++) await failure(get())
    expect(requests.length).toBeLessThanOrEqual(240)
    expect(requests.length).toBeGreaterThan(230)
  })

  test('wait longer each time', async () => {
    const started = await startCallee()
    const { save, get, failure } = clientOf(started.port, { random: () => 0.7 })
    await save(3)
    started.handler = refuse(503, 'unavailable')
    await failure(get())
    expect(
      vi
        .mocked(sleep)
        .mock.calls.map(([ms]) => ms)
        .filter(ms => ms === 17.5 || ms === 35),
    ).toEqual([17.5, 35])
  })

  test('are not begun when the wait is longer than what is left', async () => {
    const started = await startCallee()
    const { save, get, failure, runtime } = clientOf(started.port, { random: () => 1_000 })
    await save(3)
    started.requests.length = 0
    started.handler = refuse(503, 'unavailable')
    expect(await failure(get(runtime.scope(1_000)))).toMatchObject({ code: 'status-503' })
    expect(started.requests).toHaveLength(1)
  })
})

describe('the circuit', () => {
  const breaker = { threshold: 0.5, windowMs: 500, minimumRps: 4, halfOpenAfterMs: 100 }
  const state = ({ runtime }: ReturnType<typeof clientOf>) => runtime.metric('http_client_circuit_state{peer_service="callee"}')

  test('opens when too many attempts fail, sends nothing while it is open, and closes when one succeeds', async () => {
    const started = await startCallee(refuse(500, 'internal'))
    const opened = clientOf(started.port, { breaker })
    const { get, failure } = opened
    expect(await state(opened)).toBe(0)
    await vi.waitFor(async () => expect(await failure(get())).toMatchObject({ code: 'circuit-open' }), { timeout: 5_000, interval: 1 })
    expect(await state(opened)).toBe(2)
    const before = started.requests.length
    expect(await failure(get())).toMatchObject({ code: 'circuit-open', status: undefined })
    expect(started.requests).toHaveLength(before)
    started.handler = ok
    await vi.waitFor(async () => expect((await get()).status).toBe(200), { timeout: 5_000, interval: 20 })
    expect(await state(opened)).toBe(0)
  })

  test('opens again when the attempt that is let through fails', async () => {
    const started = await startCallee(refuse(503, 'unavailable'))
    const opened = clientOf(started.port, { breaker })
    const { add, failure } = opened
    await vi.waitFor(async () => expect(await failure(add())).toMatchObject({ code: 'circuit-open' }), { timeout: 5_000, interval: 1 })
    const before = started.requests.length
    await vi.waitFor(async () => expect(await failure(add())).toMatchObject({ code: 'status-503' }), { timeout: 5_000, interval: 20 })
    expect(started.requests).toHaveLength(before + 1)
    expect(await failure(add())).toMatchObject({ code: 'circuit-open' })
    expect(await state(opened)).toBe(2)
  })

  test('counts connections that fail', async () => {
    const { get, failure } = clientOf(await freePort(), { breaker })
    await vi.waitFor(async () => expect(await failure(get())).toMatchObject({ code: 'circuit-open' }), { timeout: 5_000, interval: 1 })
  })

  test('stays closed while most attempts succeed', async () => {
    const { port } = await startCallee((req, res, n) => (n % 3 === 0 ? refuse(500, 'internal') : ok)(req, res, n))
    const opened = clientOf(port, { breaker })
    for (let n = 0; n < 50; n++) expect((await opened.failure(opened.get()))?.code ?? 'none').toMatch(/status-500|none/)
    expect(await state(opened)).toBe(0)
  })
})

describe('telemetry', () => {
  test('each attempt is a client span, whose context the callee gets', async () => {
    const started = await startCallee()
    const { save, get, runtime, spans } = clientOf(started.port)
    await save(2)
    started.requests.length = 0
    runtime.spans.reset()
    started.handler = (req, res, n) => (n === 1 ? refuse(503, 'unavailable') : ok)(req, res, n)
    const scope = runtime.scope()
    await get(scope)
    const { traceId, spanId } = scope.span.spanContext()
    const attributes = {
      'http.request.method': 'GET',
      'url.template': '/things/{id}',
      'url.full': `http://callee:${started.port}${started.requests[0]?.url}`,
      'server.address': 'callee',
      'server.port': started.port,
      'peer.service': 'callee',
    }
    expect(spans()).toEqual([
      expect.objectContaining({
        name: 'GET /things/{id}',
        attributes: { ...attributes, 'http.response.status_code': 503, 'error.type': '503' },
        status: { code: SpanStatusCode.ERROR },
      }),
      expect.objectContaining({
        name: 'GET /things/{id}',
        attributes: { ...attributes, 'http.request.resend_count': 1, 'http.response.status_code': 200 },
        status: { code: SpanStatusCode.UNSET },
      }),
    ])
    for (const [n, span] of spans().entries()) {
      expect(span.parentSpanContext?.spanId).toBe(spanId)
      expect(started.requests[n]?.headers.traceparent).toBe(`00-${traceId}-${span.spanContext().spanId}-01`)
    }
  })

  test('a failed attempt is told by its kind, without what it carried', async () => {
    const { client, runtime, failure, spans } = clientOf(await freePort())
    await failure(client.call(runtime.scope(), 'addThing', { body: { name: 'a secret name' }, token: 'a.secret.token' }))
    expect(spans()).toEqual([
      expect.objectContaining({ attributes: expect.objectContaining({ 'error.type': 'unreachable' }), status: { code: SpanStatusCode.ERROR } }),
    ])
    expect(JSON.stringify(spans().map(({ attributes, events, status }) => [attributes, events, status]))).not.toContain('secret')
  })

  test('each attempt is measured by callee, method, route, status and kind of error', async () => {
    const started = await startCallee()
    const { save, get, failure, runtime } = clientOf(started.port)
    await save(1)
    const count = (method: string, route: string, status: string, errorType: string) =>
      runtime.metric(
        `http_client_request_duration_seconds_count{peer_service="callee",http_request_method="${method}",http_route="${route}",http_response_status_code="${status}",error_type="${errorType}"}`,
      )
    started.handler = refuse(503, 'unavailable')
    await failure(get())
    started.handler = (req, _res) => void req.socket.destroy()
    await failure(get())
    expect(await count('GET', '/things/{id}', '200', '')).toBe(5)
    expect(await count('GET', '/things/{id}', '503', '503')).toBe(2)
    expect(await count('GET', '/things/{id}', '', 'unreachable')).toBe(1)
  })
})

describe('client.close', () => {
  test('ends calls under way', async () => {
    const started = await startCallee(() => {})
    const { client, add, failure } = clientOf(started.port)
    const ended = failure(add())
    await vi.waitFor(() => expect(started.requests).toHaveLength(1))
    await client.close()
    expect(await ended).toMatchObject({ code: 'unreachable' })
  })
})

describe('a callee that is overloaded', () => {
  test('is called less, its circuit stays closed, and all calls are made again once it has room', async () => {
    const started = await startCallee(refuse(503, 'overloaded'))
    const { get, failure, runtime } = clientOf(started.port, { random: () => 0.5 })
    for (let n = 0; n < 40; n++) await failure(get())
    expect(started.requests.length).toBeLessThan(10)
    expect(await runtime.metric('http_client_throttled_total{peer_service="callee"}')).toBe(40 - started.requests.length)
    expect(await failure(get())).toMatchObject({
      code: 'overloaded',
      message: 'callee is overloaded and refuses most calls; getThing was not called',
    })
    expect(await runtime.metric('http_client_circuit_state{peer_service="callee"}')).toBe(0)
    started.handler = ok
    vi.useFakeTimers({ toFake: ['performance'], now: performance.now() + 20_000 })
    onTestFinished(() => void vi.useRealTimers())
    vi.advanceTimersByTime(20_000)
    for (let n = 0; n < 5; n++) expect(await get()).toMatchObject({ status: 200 })
  })
})
