import { setTimeout as sleep } from 'node:timers/promises'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { Failure } from '../../../services/chassis/contract/failure.ts'
import { timestamp } from '../../../services/chassis/contract/ids.ts'
import { createCancellation } from '../../../services/chassis/contract/scope.ts'
import { statement } from '../../../services/chassis/data/statement.ts'
import type { Call } from '../../../services/chassis/server/routes.ts'
import { testDatabase } from '../../support/database.ts'
import { PROTOCOLS, startPair } from '../../support/protocols.ts'

const thing = strict({ name: z.string(), price: z.int(), madeAt: timestamp, tags: z.array(z.string()), colour: z.enum(['red', 'dark-blue']) })
const contract = defineContract({
  putThing: {
    method: 'PUT',
    path: '/things/{id}',
    summary: 'Replaces a thing',
    auth: 'workload',
    params: z.object({ id: z.string() }),
    body: strict({ name: z.string().max(20), price: z.int().min(1) }),
    responses: { 200: { description: 'Changed', body: thing }, 201: { description: 'New', body: thing } },
    problems: { 409: ['thing-sealed'], 422: ['thing-refused'] },
  },
  removeThing: {
    method: 'DELETE',
    path: '/things/{id}',
    summary: 'Removes a thing',
    auth: 'none',
    params: z.object({ id: z.string() }),
    responses: { 204: { description: 'Gone' } },
  },
})

const made = { name: 'chair', price: 129_900, madeAt: '2026-11-24T09:30:00.123Z', tags: ['a', 'b'], colour: 'dark-blue' } as const
const workload = async () => ({ kind: 'workload' as const, id: 'caller' })

describe.each(PROTOCOLS)('by %s', protocol => {
  const pair = (put: (call: Call<(typeof contract)['putThing']>) => unknown, options = {}) =>
    startPair(protocol, contract, { putThing: put as never, removeThing: () => ({ status: 204 }) }, { verifiers: { workload }, ...options })
  const ask = { params: { id: '7/ü' }, body: { name: 'chair', price: 129_900 } }

  test('the handler gets the parts and the caller its answer, each with the status that it has', async () => {
    const seen: unknown[] = []
    const { client, caller } = await pair(
      ({ params, body, principal }) => {
        seen.push({ params, body, principal })
        return { status: seen.length === 1 ? 201 : 200, body: made }
      },
      { client: { workloadToken: () => 'token' } },
    )
    expect(await client.call(caller.runtime.scope(), 'putThing', ask)).toEqual({ status: 201, body: made })
    expect(await client.call(caller.runtime.scope(), 'putThing', ask)).toEqual({ status: 200, body: made })
    expect(seen[0]).toEqual({ params: { id: '7/ü' }, body: ask.body, principal: { kind: 'workload', id: 'caller' } })
  })

  test('an answer without a body has none', async () => {
    const { client, caller } = await pair(() => ({ status: 200, body: made }))
    expect(await client.call(caller.runtime.scope(), 'removeThing', { params: { id: '7' } })).toEqual({ status: 204, body: undefined })
  })

  test.each([
    ['conflict', 'thing-sealed', 409],
    ['refused', 'thing-refused', 422],
  ] as const)('a %s is an answer by its code, and final', async (kind, code, status) => {
    let calls = 0
    const { client, caller } = await pair(
      () => {
        calls++
        throw new Failure(kind, code, 'Größer als 5 €', { extra: { limit: 'x' } })
      },
      { client: { workloadToken: () => 'token' } },
    )
    const answer = await client.call(caller.runtime.scope(), 'putThing', ask)
    expect(answer).toMatchObject({ status, problem: { code, detail: 'Größer als 5 €', limit: 'x' } })
    expect(calls).toBe(1)
  })

  test('a part that the contract refuses is 400 invalid-request, naming its fields', async () => {
    const { client, caller } = await pair(() => ({ status: 200, body: made }), { client: { workloadToken: () => 'token' } })
    const answer = await client.call(caller.runtime.scope(), 'putThing', { params: { id: '7' }, body: { name: 'x'.repeat(21), price: 0 } })
    expect(answer).toMatchObject({ status: 400, problem: { code: 'invalid-request', errors: [{}, {}] } })
  })

  test('no token is 401', async () => {
    const { client, caller } = await pair(() => ({ status: 200, body: made }))
    expect(await client.call(caller.runtime.scope(), 'putThing', ask)).toMatchObject({ status: 401, problem: { code: 'unauthorized' } })
  })

  test('a handler that fails is a failure, told by its status', async () => {
    const { client, caller } = await pair(() => Promise.reject(new Error('secret')), { client: { workloadToken: () => 'token' } })
    await expect(client.call(caller.runtime.scope(), 'putThing', ask)).rejects.toMatchObject({ code: 'status-500' })
  })

  describe('the deadline', () => {
    test('of the caller reaches the callee, less what passed, and is clamped to its own', async () => {
      const left: number[] = []
      const { client, caller } = await pair(
        ({ scope }) => {
          left.push(scope.deadline.remainingMs())
          return { status: 200, body: made }
        },
        { timeoutMs: 1_000, edge: { attemptTimeoutMs: 5_000 }, client: { workloadToken: () => 'token' } },
      )
      await client.call(caller.runtime.scope(500), 'putThing', ask)
      await client.call(caller.runtime.scope(60_000), 'putThing', ask)
      expect(left[0]).toBeGreaterThan(100)
      expect(left[0]).toBeLessThanOrEqual(480)
      expect(left[1]).toBeGreaterThan(500)
      expect(left[1]).toBeLessThanOrEqual(1_000)
    })

    test('of an attempt ends it, and the next one may succeed', async () => {
      let calls = 0
      const { client, caller } = await pair(
        async () => {
          calls++
          if (calls === 6) await sleep(1_500)
          return { status: 200, body: made }
        },
        { edge: { attemptTimeoutMs: 300 }, client: { workloadToken: () => 'token' } },
      )
      for (let n = 0; n < 5; n++) await client.call(caller.runtime.scope(), 'putThing', ask)
      expect(await client.call(caller.runtime.scope(), 'putThing', ask)).toMatchObject({ status: 200 })
      expect(calls).toBe(7)
    })
  })

  describe('a caller that gives up', () => {
    test('ends what the callee has not begun, and its own calls', async () => {
      const seen = Promise.withResolvers<string>()
      const { client, caller } = await pair(
        async ({ scope }) => {
          scope.cancellation?.signal.addEventListener('abort', () => seen.resolve(String(scope.cancellation?.signal.reason)))
          await sleep(1_000)
          return { status: 200, body: made }
        },
        { timeoutMs: 5_000, client: { workloadToken: () => 'token' } },
      )
      const { cancellation, cancel } = createCancellation()
      const call = client.call({ ...caller.runtime.scope(), cancellation }, 'putThing', ask)
      setTimeout(cancel, 100)
      await expect(call).rejects.toMatchObject({ code: 'cancelled' })
      expect(await seen.promise).toContain('the caller gave up')
    })

    test('costs no database connection, rolls back what is not committed, and leaves what is', async () => {
      const { database, sql, close } = await testDatabase()
      onTestFinished(close)
      await sql('create table things (name text)')
      const insert = statement('insert', 'insert into things values ($1)')
      const done = Promise.withResolvers<void>()
      let round = 0
      const { client, caller } = await pair(
        async ({ scope }) => {
          round++
          try {
            if (round === 2) await database.query(scope, insert, ['committed'])
            await database.transaction(scope, async tx => {
              await tx.query(scope, insert, [round === 1 ? 'undone' : 'afterwards'])
              await sleep(400)
              await tx.query(scope, insert, [round === 1 ? 'undone' : 'afterwards'])
            })
            return { status: 200, body: made }
          } finally {
            if (round === 2) done.resolve()
          }
        },
        { client: { workloadToken: () => 'token' } },
      )
      await database.query(caller.runtime.scope(), statement('one', 'select 1'))
      const [before] = await sql<{ pids: number[] }>(CONNECTIONS)
      for (let n = 0; n < 2; n++) {
        const { cancellation, cancel } = createCancellation()
        setTimeout(cancel, 150)
        await client.call({ ...caller.runtime.scope(), cancellation }, 'putThing', ask).catch(() => {})
        await sleep(600)
      }
      await done.promise
      expect((await sql<{ name: string }>('select distinct name from things order by name')).map(({ name }) => name)).toEqual([
        'afterwards',
        'committed',
      ])
      const [after] = await sql<{ pids: number[] }>(CONNECTIONS)
      expect(after?.pids).toEqual(expect.arrayContaining(before?.pids ?? [0]))
    })
  })

  describe('retries', () => {
    test('are made of an idempotent operation within the budget, and none of overloaded', async () => {
      let calls = 0
      const fail = { kind: 'unavailable', code: 'unavailable' }
      const { client, caller } = await pair(
        () => {
          calls++
          if (calls > 10) throw new Failure(fail.kind as 'unavailable', fail.code, 'No')
          return { status: 200, body: made }
        },
        { edge: { maxAttempts: 3 }, client: { workloadToken: () => 'token' } },
      )
      for (let n = 0; n < 10; n++) await client.call(caller.runtime.scope(), 'putThing', ask)
      await expect(client.call(caller.runtime.scope(), 'putThing', ask)).rejects.toMatchObject({ code: 'status-503' })
      // 10 calls earned two retries.
      expect(calls).toBe(13)
      await expect(client.call(caller.runtime.scope(), 'putThing', ask)).rejects.toMatchObject({ code: 'status-503' })
      expect(calls).toBe(14)
      fail.code = 'overloaded'
      for (let n = 0; n < 10; n++) await client.call(caller.runtime.scope(), 'putThing', ask).catch(() => {})
      expect(calls).toBe(24)
    })
  })

  test('the circuit opens when too many attempts fail, and sends nothing while it is open', async () => {
    let calls = 0
    const { client, caller } = await pair(
      () => {
        calls++
        throw new Error('broken')
      },
      { client: { workloadToken: () => 'token', breaker: { minimumRps: 0.1, windowMs: 1_000 } } },
    )
    for (let n = 0; n < 20; n++) await client.call(caller.runtime.scope(), 'putThing', ask).catch(() => {})
    const before = calls
    expect(before).toBeLessThan(20)
    await expect(client.call(caller.runtime.scope(), 'putThing', ask)).rejects.toMatchObject({ code: 'circuit-open' })
    expect(calls).toBe(before)
  })

  test("the callee's failures open it, and its refusals do not", async () => {
    const { client, caller } = await pair(
      () => {
        throw new Failure('refused', 'thing-refused', 'No')
      },
      { client: { workloadToken: () => 'token', breaker: { minimumRps: 0.1, windowMs: 1_000 } } },
    )
    for (let n = 0; n < 20; n++) expect(await client.call(caller.runtime.scope(), 'putThing', ask)).toMatchObject({ status: 422 })
  })

  describe('addresses', () => {
    const two = ['127.0.0.1', '127.0.0.2']

    test('get even shares, of calls at once as well', async () => {
      const counts: Record<string, number> = {}
      const { client, caller } = await pair(() => undefined, {
        addresses: two,
        client: { workloadToken: () => 'token' },
        handlersAt: (address: string) => ({
          putThing: () => {
            counts[address] = (counts[address] ?? 0) + 1
            return { status: 200, body: made }
          },
          removeThing: () => ({ status: 204 }),
        }),
      })
      for (let n = 0; n < 10; n++) await client.call(caller.runtime.scope(), 'putThing', ask)
      await Promise.all(Array.from({ length: 30 }, () => client.call(caller.runtime.scope(), 'putThing', ask)))
      expect(counts).toEqual({ '127.0.0.1': 20, '127.0.0.2': 20 })
    })

    test('that take no connection are passed over, whatever the operation', async () => {
      const { client, caller, instances } = await pair(() => ({ status: 200, body: made }), {
        addresses: two,
        client: { workloadToken: () => 'token' },
      })
      await instances[1]?.close()
      for (let n = 0; n < 10; n++) expect(await client.call(caller.runtime.scope(), 'putThing', ask)).toMatchObject({ status: 200 })
    })

    test('that drain finish what they have begun, and lose no call of those that go on', async () => {
      const { client, caller, instances } = await pair(
        async () => {
          await sleep(20)
          return { status: 200, body: made }
        },
        { addresses: two, client: { workloadToken: () => 'token' } },
      )
      let stop = false
      const statuses: unknown[] = []
      const caller1 = async () => {
        while (!stop) {
          const answer = await client.call(caller.runtime.scope(), 'putThing', ask).catch((error: unknown) => error)
          statuses.push((answer as { status?: number }).status ?? answer)
        }
      }
      const callers = Array.from({ length: 8 }, caller1)
      await sleep(300)
      await instances[1]?.drain({ lingerMs: 100, finishMs: 2_000 })
      await sleep(200)
      stop = true
      await Promise.all(callers)
      expect(statuses.length).toBeGreaterThan(10)
      expect(statuses.filter(status => status !== 200)).toEqual([])
      // Who drains says so beforehand, and what it refuses was never begun; HTTP/1.1 has no such word.
      if (protocol === 'grpc') expect(await caller.runtime.metric('http_client_retries_total{peer_service="callee"}')).toBe(0)
    })
  })

  test('what is above the limit of the callee is refused with 503 overloaded, and counted', async () => {
    const { client, caller, callee } = await pair(
      async () => {
        await sleep(300)
        return { status: 200, body: made }
      },
      { maxConcurrency: 2, edge: { maxAttempts: 1 }, client: { workloadToken: () => 'token' } },
    )
    const calls = await Promise.allSettled(Array.from({ length: 5 }, () => client.call(caller.runtime.scope(), 'putThing', ask)))
    expect(calls.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    expect(calls.flatMap(call => (call.status === 'rejected' ? [call.reason.code] : []))).toEqual(['status-503', 'status-503', 'status-503'])
    expect(await callee.runtime.metric('http_server_shed_requests_total{reason="concurrency"}')).toBe(3)
  })

  test('a trace goes on from the caller through each attempt to the handler', async () => {
    const { client, caller, callee } = await pair(
      ({ scope }) => {
        scope.log.info('here')
        return { status: 200, body: made }
      },
      { client: { workloadToken: () => 'token' } },
    )
    const scope = caller.runtime.scope()
    await client.call(scope, 'putThing', ask)
    const [attempt] = caller.runtime.spans.getFinishedSpans().filter(({ kind }) => kind === SpanKind.CLIENT)
    const [served] = await vi.waitFor(() => {
      const spans = callee.runtime.spans.getFinishedSpans().filter(({ kind }) => kind === SpanKind.SERVER)
      expect(spans).toHaveLength(1)
      return spans
    })
    expect(attempt?.parentSpanContext?.spanId).toBe(scope.span.spanContext().spanId)
    expect(served?.parentSpanContext?.spanId).toBe(attempt?.spanContext().spanId)
    const traceId = scope.span.spanContext().traceId
    expect(served?.spanContext().traceId).toBe(traceId)
    expect(attempt?.attributes).toMatchObject({ 'peer.service': 'callee', ...SPANS[protocol] })
    expect(served?.attributes).toMatchObject(SPANS[protocol])
    expect(served?.name).toBe(NAMES[protocol])
    expect(callee.runtime.lines.filter(({ trace_id }) => trace_id === traceId).map(({ msg }) => msg)).toEqual(['here', 'request'])
    expect(callee.runtime.lines.find(({ msg }) => msg === 'request')).toMatchObject({ workload: 'caller', ...LINES[protocol] })
  })

  test('a failure marks both spans, both metrics with an exemplar, and the log', async () => {
    const { client, caller, callee } = await pair(() => Promise.reject(new Error('broken')), {
      edge: { maxAttempts: 1 },
      client: { workloadToken: () => 'token' },
    })
    await client.call(caller.runtime.scope(), 'putThing', ask).catch(() => {})
    await vi.waitFor(() => expect(callee.runtime.lines.some(({ msg }) => msg === 'request')).toBe(true))
    for (const { runtime } of [caller, callee]) {
      const failed = runtime.spans.getFinishedSpans().filter(({ kind, status }) => kind !== SpanKind.INTERNAL && status.code === SpanStatusCode.ERROR)
      expect(failed).toHaveLength(1)
      const { text } = await runtime.metrics.expose('application/openmetrics-text')
      expect(text).toMatch(new RegExp(`${METRICS[protocol]}.*# \\{trace_id="${failed[0]?.spanContext().traceId}"`))
    }
    expect(callee.runtime.lines.find(({ msg }) => msg === 'request failed')).toMatchObject({ code: 'internal', err: { message: 'broken' } })
  })
})

const CONNECTIONS = `select array_agg(pid order by pid) as pids from pg_stat_activity where application_name = 'test' and datname = current_database()`

// What OpenTelemetry's conventions say of the same call by each protocol.
const SPANS = {
  http: { 'http.request.method': 'PUT', 'http.response.status_code': 200 },
  grpc: { 'rpc.system.name': 'grpc', 'rpc.method': 'callee.v1.CalleeService/PutThing', 'rpc.response.status_code': 'OK' },
}
const NAMES = { http: 'PUT /things/{id}', grpc: 'callee.v1.CalleeService/PutThing' }
const LINES = { http: { method: 'PUT', route: '/things/{id}', status: 200 }, grpc: { method: 'callee.v1.CalleeService/PutThing', status: 'OK' } }
const METRICS = { http: 'http_(server_request|client_request)_duration_seconds_bucket', grpc: 'rpc_(server|client)_call_duration_seconds_bucket' }
