import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { arrivalOf, createAdmission, lendPlace } from '../../../services/chassis/server/admission.ts'
import { createApp } from '../../../services/chassis/server/pipeline.ts'
import { listen } from '../../support/http.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

const responses = { 204: { description: 'Done' } }
const contract = defineContract({
  command: { method: 'PUT', path: '/commands', summary: 'Of a service', auth: 'workload', responses },
  write: { method: 'POST', path: '/orders', summary: 'By a user', auth: 'user', responses },
  read: { method: 'GET', path: '/orders', summary: 'By a user', auth: 'user', responses },
  look: { method: 'GET', path: '/products', summary: 'By anybody', auth: 'none', responses },
})

/** As much of a request and its answer as is looked at before a request is begun. */
class FakeAnswer extends EventEmitter {
  status: number | undefined
  headers: Record<string, string> = {}
  body = ''
  /** What answering costs. */
  ms = 0
  writeHead(status: number, headers: string[]) {
    this.status = status
    for (let i = 0; i < headers.length; i += 2) this.headers[headers[i] as string] = headers[i + 1] as string
    vi.advanceTimersByTime(this.ms)
    return this
  }
  end(body: Buffer) {
    this.body = String(body)
  }
}

interface Asked {
  name: string
  req: object
  res: FakeAnswer
  done: () => void
  fail: (error: Error) => void
}

let runtime: TestRuntime
let begun: Asked[]
let asked: Asked[]
let limit: number
let listener: (req: never, res: never) => void

beforeEach(() => {
  vi.useFakeTimers()
  runtime = testRuntime('tiny')
  begun = []
  asked = []
  limit = 1
  const admit = createAdmission({
    ...runtime,
    service: { contract, maxConcurrency: 100, timeoutMs: 60_000, slo: { availability: 0.99, latency: { thresholdMs: 1_000, objective: 0.99 } } },
    limit: { current: () => limit, use: () => {} },
  })
  const handler = (req: object) => {
    const found = asked.find(one => one.req === req) as Asked
    begun.push(found)
    return new Promise<void>((resolve, reject) => Object.assign(found, { done: resolve, fail: reject }))
  }
  listener = admit(handler as never) as never
})
afterEach(() => void vi.useRealTimers())

function ask(name: string, method = 'GET', url = '/products', complete = true, headers: object = { authorization: 'Bearer a' }): Asked {
  const one = { name, req: { method, url, complete, headers }, res: new FakeAnswer(), done: () => {}, fail: () => {} }
  asked.push(one)
  listener(one.req as never, one.res as never)
  return one
}

const answered = (status: number) =>
  `http_server_request_duration_seconds_count{http_request_method="GET",http_route="/products",http_response_status_code="${status}"}`
const names = () => begun.map(({ name }) => name)
/** Ends what was begun last, and lets the event loop turn. */
async function finish(one = begun.at(-1)): Promise<void> {
  one?.done()
  await vi.advanceTimersByTimeAsync(1)
}

describe('admission', () => {
  test('begins requests up to the limit, and the others when there is a place, those that came first before', async () => {
    limit = 2
    for (const name of ['a', 'b', 'c', 'd']) ask(name)
    expect(names()).toEqual(['a', 'b'])
    expect(await runtime.metric('http_server_waiting_requests')).toBe(2)
    await finish(begun[0])
    expect(names()).toEqual(['a', 'b', 'c'])
    await finish(begun[1])
    expect(names()).toEqual(['a', 'b', 'c', 'd'])
    expect(await runtime.metric('http_server_waiting_requests')).toBe(0)
  })

  test('whoever fails gives the place back', async () => {
    ask('first')
    ask('second')
    begun[0]?.fail(new Error('boom'))
    await vi.advanceTimersByTimeAsync(1)
    expect(names()).toEqual(['first', 'second'])
  })

  test('calls of services go first, then what users write, what users read, and what anybody asks for', async () => {
    ask('first')
    ask('look')
    ask('no such path', 'GET', '/nowhere')
    ask('read', 'GET', '/orders?limit=3')
    ask('write', 'POST', '/orders')
    ask('without a token', 'POST', '/orders', true, {})
    ask('command', 'PUT', '/commands')
    for (let n = 0; n < 6; n++) await finish()
    expect(names()).toEqual(['first', 'command', 'write', 'read', 'look', 'no such path', 'without a token'])
  })

  test('every eighth place goes to a lower class, so that it does not stand still', async () => {
    ask('first')
    for (let n = 0; n < 20; n++) ask(`command ${n}`, 'PUT', '/commands')
    for (let n = 0; n < 3; n++) ask(`look ${n}`)
    for (let n = 0; n < 16; n++) await finish()
    expect(names().filter(name => name.startsWith('look'))).toEqual(['look 0', 'look 1'])
    expect([names()[8], names()[16]]).toEqual(['look 0', 'look 1'])
  })

  test('no class stands still while those around it are full', async () => {
    ask('first')
    for (let n = 0; n < 60; n++) ask(`write ${n}`, 'POST', '/orders')
    for (let n = 0; n < 60; n++) ask(`read ${n}`, 'GET', '/orders')
    for (let n = 0; n < 60; n++) ask(`look ${n}`)
    for (let n = 0; n < 48; n++) await finish()
    const begunOf = (what: string) => names().filter(name => name.startsWith(what)).length
    expect([begunOf('read'), begunOf('look')]).toEqual([2, 2])
  })

  test('the newest goes first once the queue has stood for 100 ms, and the oldest again once it was empty', async () => {
    ask('first')
    ask('b')
    ask('c')
    await vi.advanceTimersByTimeAsync(101)
    ask('d')
    for (let n = 0; n < 3; n++) await finish()
    expect(names()).toEqual(['first', 'd', 'c', 'b'])
    ask('e')
    ask('f')
    for (let n = 0; n < 2; n++) await finish()
    expect(names().slice(4)).toEqual(['e', 'f'])
  })

  test('who has waited for half of the latency objective is answered 503, and is measured', async () => {
    ask('first')
    const late = ask('late')
    await vi.advanceTimersByTimeAsync(490)
    expect(late.res.status).toBeUndefined()
    await vi.advanceTimersByTimeAsync(40)
    expect(late.res.status).toBe(503)
    expect(late.res.headers).toMatchObject({ 'retry-after': '1', 'content-type': 'application/problem+json', 'x-content-type-options': 'nosniff' })
    expect(Number(late.res.headers['content-length'])).toBe(Buffer.byteLength(late.res.body))
    expect(JSON.parse(late.res.body)).toMatchObject({ status: 503, code: 'overloaded' })
    expect(late.res.headers.connection).toBeUndefined()
    await finish()
    expect(names()).toEqual(['first'])
    expect(await runtime.metric('http_server_shed_requests_total{reason="queue"}')).toBe(1)
    const labels = '{http_request_method="GET",http_route="/products",http_response_status_code="503"}'
    expect(await runtime.metric(`http_server_request_duration_seconds_count${labels}`)).toBe(1)
    expect(await runtime.metric(`http_server_request_duration_seconds_sum${labels}`)).toBeGreaterThan(0.5)
  })

  test('the connection of a refused request whose body has not come is closed', async () => {
    ask('first')
    const late = ask('late', 'POST', '/orders', false)
    await vi.advanceTimersByTimeAsync(600)
    expect(late.res.headers.connection).toBe('close')
  })

  test('refuses in a twentieth of the time, what anybody asks for before what services do', async () => {
    ask('first')
    const calls = Array.from({ length: 3 }, (_, n) => ask(`command ${n}`, 'PUT', '/commands'))
    const looks = Array.from({ length: 100 }, (_, n) => ask(`look ${n}`))
    for (const { res } of [...calls, ...looks]) res.ms = 1
    await vi.advanceTimersByTimeAsync(500)
    await vi.advanceTimersByTimeAsync(1_000)
    const refused = looks.filter(({ res }) => res.status === 503).length
    expect(refused).toBeGreaterThan(20)
    // What was saved up before counts for no more than one sweep.
    expect(refused).toBeLessThan(75)
    expect(calls.every(({ res }) => res.status === undefined)).toBe(true)
    expect(await runtime.metric('http_server_shed_requests_total{reason="queue"}')).toBe(refused)
  })

  test('logs some of what it refuses, and how many it stands for', async () => {
    ask('first')
    for (let n = 0; n < 50; n++) ask(`look ${n}`)
    await vi.advanceTimersByTimeAsync(1_000)
    const lines = runtime.lines.filter(({ code }) => code === 'overloaded')
    const refused = await runtime.metric('http_server_shed_requests_total{reason="queue"}')
    expect(refused).toBeGreaterThan(8)
    expect(lines.length).toBeLessThanOrEqual(6)
    expect(lines.reduce((sum, line) => sum + (line.refused as number), 0)).toBeGreaterThan(refused - 4)
    expect(lines[0]).toMatchObject({ level: 'error', msg: 'request', method: 'GET', route: '/products', status: 503, refused: 1 })
  })

  test('a client that has gone is not begun, and is no failure of ours', async () => {
    ask('first')
    const gone = ask('gone')
    ask('here')
    await vi.advanceTimersByTimeAsync(490)
    gone.res.emit('close')
    expect(await runtime.metric('http_server_waiting_requests')).toBe(1)
    expect(await runtime.metric(answered(499))).toBe(1)
    expect(await runtime.metric('http_server_shed_requests_total{reason="gone"}')).toBe(0)
    await finish()
    expect(names()).toEqual(['first', 'here'])
    const later = ask('later')
    later.res.emit('close')
    await vi.advanceTimersByTimeAsync(700)
    expect(later.res.status).toBeUndefined()
    expect(await runtime.metric('http_server_waiting_requests')).toBe(0)
  })

  test('a client that has gone after its time counts as refused, and is logged', async () => {
    limit = 0
    // Those before it use up what may be refused.
    for (let n = 0; n < 50; n++) ask(`look ${n}`)
    const gone = ask('gone')
    await vi.advanceTimersByTimeAsync(600)
    expect(gone.res.status).toBeUndefined()
    const refused = await runtime.metric('http_server_shed_requests_total{reason="queue"}')
    gone.res.emit('close')
    expect(await runtime.metric('http_server_shed_requests_total{reason="gone"}')).toBe(1)
    expect(await runtime.metric('http_server_shed_requests_total{reason="queue"}')).toBe(refused)
    expect(await runtime.metric(answered(503))).toBe(refused + 1)
    expect(await runtime.metric(answered(499))).toBe(0)
    await vi.advanceTimersByTimeAsync(200)
    expect(runtime.lines.at(-1)).toMatchObject({ status: 503, code: 'overloaded' })
  })

  test('of requests with long bodies 256 wait, and the next is refused at once', async () => {
    limit = 0
    const long = { 'content-length': '4097' }
    const waiting = Array.from({ length: 256 }, (_, n) =>
      ask(`long ${n}`, 'POST', '/orders', false, n % 2 ? long : { 'transfer-encoding': 'chunked' }),
    )
    const short = ask('short', 'POST', '/orders', false, { 'content-length': '4096' })
    const refused = ask('one more', 'POST', '/orders', false, long)
    expect(refused.res).toMatchObject({ status: 503, headers: { connection: 'close' } })
    expect([...waiting, short].every(({ res }) => res.status === undefined)).toBe(true)
    expect(await runtime.metric('http_server_shed_requests_total{reason="waiting-body"}')).toBe(1)
    waiting[0]?.res.emit('close')
    expect(ask('in its place', 'POST', '/orders', false, long).res.status).toBeUndefined()
    expect(ask('one more', 'POST', '/orders', false, long).res.status).toBe(503)
    // Whoever is begun waits no more.
    limit = 2
    await vi.advanceTimersByTimeAsync(11)
    expect(begun).toHaveLength(2)
    expect(ask('in their place', 'POST', '/orders', false, long).res.status).toBeUndefined()
    expect(ask('and again', 'POST', '/orders', false, long).res.status).toBeUndefined()
    expect(ask('one more', 'POST', '/orders', false, long).res.status).toBe(503)
  })

  test('nothing runs while nothing waits', async () => {
    ask('first')
    ask('second')
    await finish()
    await finish()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('tells when a request was read', async () => {
    const readAt = performance.now()
    ask('first')
    const second = ask('second')
    await vi.advanceTimersByTimeAsync(50)
    await finish()
    expect(arrivalOf(second.req)).toBe(readAt)
    expect(arrivalOf({})).toBe(performance.now())
  })

  test('what takes longer than 20 ms to arrive holds no place meanwhile', async () => {
    const slow = ask('slow')
    ask('second')
    const takeBack = lendPlace(slow.req)
    await vi.advanceTimersByTimeAsync(19)
    expect(names()).toEqual(['slow'])
    await vi.advanceTimersByTimeAsync(2)
    expect(names()).toEqual(['slow', 'second'])
    takeBack()
    ask('third')
    await finish(begun[1])
    expect(names()).toEqual(['slow', 'second'])
    await finish(begun[0])
    expect(names()).toEqual(['slow', 'second', 'third'])
  })

  test('a body that comes at once keeps its place, and one whose request is over takes none', async () => {
    const first = ask('first')
    lendPlace(first.req)()
    ask('second')
    await vi.advanceTimersByTimeAsync(50)
    expect(names()).toEqual(['first'])
    const takeBack = lendPlace(first.req)
    await vi.advanceTimersByTimeAsync(21)
    expect(names()).toEqual(['first', 'second'])
    await finish(first)
    takeBack()
    await finish(begun[1])
    ask('third')
    expect(names()).toEqual(['first', 'second', 'third'])
  })
})

test('what a request has waited counts toward its deadline and its duration', async () => {
  vi.useRealTimers()
  const own = defineContract({ wait: { method: 'GET', path: '/wait', summary: 'Held', auth: 'none', responses } })
  const left: number[] = []
  const gate = Promise.withResolvers<void>()
  const service = {
    contract: own,
    maxConcurrency: 100,
    timeoutMs: 10_000,
    slo: { availability: 0.99, latency: { thresholdMs: 60_000, objective: 0.99 } },
  }
  const app = createApp(runtime, {
    service,
    handlers: {
      wait: async ({ scope }) => {
        left.push(scope.deadline.remainingMs())
        if (left.length === 1) await gate.promise
        return { status: 204 }
      },
    },
    trustedHops: 0,
  })
  const admit = createAdmission({ ...runtime, service, limit: { current: () => 1, use: () => {} } })
  const { url, close } = await listen(admit(app.callback()))
  onTestFinished(close)
  const first = fetch(`${url}/wait`)
  await vi.waitFor(() => expect(left).toHaveLength(1))
  const second = fetch(`${url}/wait`)
  await vi.waitFor(async () => expect(await runtime.metric('http_server_waiting_requests')).toBe(1))
  const waitsSince = performance.now()
  await new Promise(resolve => setTimeout(resolve, 300))
  const waitedMs = performance.now() - waitsSince
  gate.resolve()
  expect((await Promise.all([first, second])).map(({ status }) => status)).toEqual([204, 204])
  expect(left[1]).toBeLessThanOrEqual(10_000 - waitedMs)
  const lines = runtime.lines.filter(({ msg }) => msg === 'request')
  for (const line of lines) expect(line.duration_ms).toBeGreaterThanOrEqual(waitedMs - 1)
  expect(
    await runtime.metric('http_server_request_duration_seconds_sum{http_request_method="GET",http_route="/wait",http_response_status_code="204"}'),
  ).toBeGreaterThan((1.9 * waitedMs) / 1_000)
})
