import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { isKept, KEPT_ATTRIBUTE } from '../../../services/chassis/contract/sampling.ts'
import { ProblemError } from '../../../services/chassis/server/problem.ts'
import type { Handlers } from '../../../services/chassis/server/routes.ts'
import { childSpan, createTracing, failSpan, linkedSpan, traceHeaders, unrecordedSpan } from '../../../services/chassis/telemetry/tracing.ts'
import { listen } from '../../support/http.ts'
import { testRuntime } from '../../support/runtime.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

describe('traceContext()', () => {
  let service: TinyService
  let linking: TinyService

  beforeAll(async () => {
    const problems = { 409: ['taken'], 503: ['broken'] }
    const responses = { 204: { description: 'Done' } }
    const contract = defineContract({
      get: { method: 'GET', path: '/things/{id}', params: z.object({ id: z.string() }), summary: 'Get', auth: 'none', responses },
      call: { method: 'GET', path: '/calls', summary: 'For services', auth: 'workload', responses },
      refuse: { method: 'POST', path: '/things/{id}', params: z.object({ id: z.string() }), summary: 'Refuse', auth: 'none', responses, problems },
      fail: { method: 'PUT', path: '/things/{id}', params: z.object({ id: z.string() }), summary: 'Fail', auth: 'none', responses, problems },
      crash: { method: 'DELETE', path: '/things/{id}', params: z.object({ id: z.string() }), summary: 'Crash', auth: 'none', responses },
    })
    const handlers: Handlers<typeof contract> = {
      get: async ({ scope }) => {
        childSpan(service.runtime.tracer, scope.span, 'inner').end()
        return { status: 204 }
      },
      call: async () => ({ status: 204 }),
      refuse: async () => {
        throw new ProblemError(409, 'taken', 'Taken')
      },
      fail: async () => {
        throw new ProblemError(503, 'broken', 'Broken')
      },
      crash: async () => {
        throw new Error('boom')
      },
    }
    const verifiers = { workload: async () => ({ kind: 'workload' as const, id: 'caller' }) }
    service = await startTinyService(contract, handlers, { verifiers })
    linking = await startTinyService(contract, handlers, { verifiers, ingressTraces: 'link' })
  })
  afterAll(() => Promise.all([service?.close(), linking?.close()]))
  beforeEach(() => {
    service.runtime.spans.reset()
    linking.runtime.spans.reset()
  })

  const serverSpan = async (method: string, path = '/things/7', headers: Record<string, string> = {}, of = service): Promise<ReadableSpan> => {
    await of.http(method, path, { headers, token: 'token' })
    const find = () => of.runtime.spans.getFinishedSpans().find(span => span.kind === SpanKind.SERVER)
    return vi.waitUntil(find)
  }

  test('names the span after method and route template', async () => {
    const span = await serverSpan('GET', '/things/7', { traceparent: `00-${'f'.repeat(32)}-${SPAN}-01` })
    expect(span.name).toBe('GET /things/{id}')
    expect(span.attributes).toEqual({
      'http.request.method': 'GET',
      'url.scheme': 'http',
      'http.route': '/things/{id}',
      'url.path': '/things/7',
      'http.response.status_code': 204,
    })
    expect(span.status.code).toBe(SpanStatusCode.UNSET)
    expect(span.resource.attributes['service.name']).toBe('tiny')
  })

  test('tells the tail sampler which ordinary traces are of the share that is kept', async () => {
    const keptOf = async (end: string) =>
      (await serverSpan('GET', '/things/7', { traceparent: `00-${TRACE.slice(0, 19)}${end}-${SPAN}-01` })).attributes[KEPT_ATTRIBUTE]
    expect(await keptOf('1'.padEnd(13, '0'))).toBe(true)
    service.runtime.spans.reset()
    expect(await keptOf('2'.padEnd(13, '0'))).toBeUndefined()
  })

  test('names the span after the method alone where there is no route, and tells nothing of the path', async () => {
    const span = await serverSpan('GET', '/secret/path')
    expect(span.name).toBe('GET')
    expect(JSON.stringify(span.attributes)).not.toContain('secret')
    expect(span.attributes['http.response.status_code']).toBe(404)
  })

  test("the caller's span is the parent, and a span of the handler is a child", async () => {
    const span = await serverSpan('GET', '/things/7', { traceparent: `00-${TRACE}-${SPAN}-01` })
    expect(span.spanContext().traceId).toBe(TRACE)
    expect(span.parentSpanContext).toMatchObject({ traceId: TRACE, spanId: SPAN, isRemote: true })
    const inner = service.runtime.spans.getFinishedSpans().find(other => other.name === 'inner')
    expect(inner?.parentSpanContext?.spanId).toBe(span.spanContext().spanId)
    expect(inner?.spanContext().traceId).toBe(TRACE)
  })

  test('a span whose calling service does not sample is not recorded', async () => {
    const off = { traceparent: `00-${TRACE}-${SPAN}-00` }
    await service.http('GET', '/calls', { headers: off, token: 'token' })
    await serverSpan('GET')
    expect(service.runtime.spans.getFinishedSpans().map(span => span.spanContext().traceId)).not.toContain(TRACE)
  })

  test('nobody outside switches recording off, whoever begins the trace', async () => {
    const off = { traceparent: `00-${TRACE}-${SPAN}-00` }
    expect((await serverSpan('GET', '/things/7', off)).spanContext()).toMatchObject({ traceId: TRACE, traceFlags: 1 })
    expect((await serverSpan('GET', '/things/7', off, linking)).spanContext()).toMatchObject({ traceFlags: 1 })
  })

  test("a stranger's trace is only linked where no ingress begins traces", async () => {
    const span = await serverSpan('GET', '/things/7', { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'a=1' }, linking)
    expect(span.spanContext().traceId).not.toBe(TRACE)
    expect(span.parentSpanContext).toBeUndefined()
    expect(span.links.map(({ context }) => context)).toEqual([expect.objectContaining({ traceId: TRACE, spanId: SPAN })])
    expect(span.spanContext().traceState).toBeUndefined()
  })

  test("a calling service's trace is continued there as well", async () => {
    const span = await serverSpan('GET', '/calls', { traceparent: `00-${TRACE}-${SPAN}-01` }, linking)
    expect([span.spanContext().traceId, span.links]).toEqual([TRACE, []])
  })

  test.each([
    ['GET', 204, SpanStatusCode.UNSET, undefined],
    ['POST', 409, SpanStatusCode.UNSET, undefined],
    ['PUT', 503, SpanStatusCode.ERROR, 'broken'],
    ['DELETE', 500, SpanStatusCode.ERROR, 'internal'],
  ])('%s with %i has the status %i', async (method, status, code, errorType) => {
    const span = await serverSpan(method)
    expect(span.attributes['http.response.status_code']).toBe(status)
    expect(span.attributes['error.type']).toBe(errorType)
    expect(span.status.code).toBe(code)
  })

  test("the scope's log carries the trace id", async () => {
    service.runtime.lines.length = 0
    await serverSpan('DELETE', '/things/7', { traceparent: `00-${TRACE}-${SPAN}-01` })
    expect(service.runtime.lines.map(line => line.trace_id)).toEqual([TRACE, TRACE])
  })
})

describe('childSpan', () => {
  test('is of the kind and with the attributes that it is given', () => {
    const { tracer, spans } = testRuntime()
    const parent = tracer.startSpan('parent')
    childSpan(tracer, parent, 'call', { kind: SpanKind.CLIENT, attributes: { 'peer.service': 'user' } }).end()
    childSpan(tracer, parent, 'work').end()
    expect(spans.getFinishedSpans()).toEqual([
      expect.objectContaining({ name: 'call', kind: SpanKind.CLIENT, attributes: { 'peer.service': 'user' } }),
      expect.objectContaining({ name: 'work', kind: SpanKind.INTERNAL, attributes: {} }),
    ])
    for (const span of spans.getFinishedSpans()) expect(span.parentSpanContext?.spanId).toBe(parent.spanContext().spanId)
  })

  test('passes the random flag on', () => {
    const { tracer } = testRuntime()
    const random = linkedSpan(tracer, 'new', undefined)
    expect(traceHeaders(childSpan(tracer, random, 'child')).traceparent).toMatch(/-03$/)
    expect(traceHeaders(childSpan(tracer, tracer.startSpan('unknown'), 'child')).traceparent).toMatch(/-01$/)
  })
})

describe('linkedSpan', () => {
  test('starts a trace of its own with a link to its cause', () => {
    const { tracer, spans } = testRuntime()
    linkedSpan(tracer, 'deliver', `00-${TRACE}-${SPAN}-01`).end()
    const [span] = spans.getFinishedSpans()
    expect(span).toMatchObject({ name: 'deliver', kind: SpanKind.CONSUMER, parentSpanContext: undefined })
    expect(span?.spanContext().traceId).not.toBe(TRACE)
    expect(span?.links).toEqual([{ context: expect.objectContaining({ traceId: TRACE, spanId: SPAN, traceFlags: 1 }) }])
  })

  test.each([undefined, '', 'broken', `00-${'0'.repeat(32)}-${SPAN}-01`])('has no link when the cause is %o', traceparent => {
    const { tracer, spans } = testRuntime()
    linkedSpan(tracer, 'deliver', traceparent, SpanKind.PRODUCER).end()
    expect(spans.getFinishedSpans()).toEqual([expect.objectContaining({ kind: SpanKind.PRODUCER, links: [] })])
  })

  test.each([
    ['0', true],
    ['f', false],
  ])('is kept when its cause is: trace id with 4 bits of %s', (digit, kept) => {
    const { tracer, spans } = testRuntime()
    const cause = `00-${'a'.repeat(19)}${digit}${'b'.repeat(12)}-${SPAN}-01`
    for (let n = 0; n < 200; n++) linkedSpan(tracer, 'deliver', cause).end()
    const marked = spans.getFinishedSpans().filter(({ attributes }) => attributes[KEPT_ATTRIBUTE] === true)
    // Of those whose cause is not kept, the ones that are by their own id.
    expect(marked).toHaveLength(kept ? 200 : spans.getFinishedSpans().filter(span => isKept(span.spanContext().traceId, 0.1)).length)
  })
})

describe('unrecordedSpan', () => {
  test('has ids for the log, and neither it nor what is below it is sent', () => {
    const { tracer, spans } = testRuntime()
    const span = unrecordedSpan()
    childSpan(tracer, span, 'statement').end()
    span.end()
    expect(span.spanContext().traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/)
    expect(spans.getFinishedSpans()).toEqual([])
  })
})

describe('failSpan', () => {
  test.each([
    [Object.assign(new Error('secret'), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
    [new TypeError('secret'), 'TypeError'],
    ['secret', 'unknown'],
  ])('marks the span by the kind of %o and not by its message', (error, errorType) => {
    const { tracer, spans } = testRuntime()
    const span = tracer.startSpan('work')
    failSpan(span, error)
    span.end()
    const [ended] = spans.getFinishedSpans()
    expect(ended?.attributes).toEqual({ 'error.type': errorType })
    expect(ended?.status).toEqual({ code: SpanStatusCode.ERROR })
    expect(ended?.events).toEqual([])
  })
})

describe('isKept', () => {
  const share = fc.integer({ min: 0, max: 1_000 }).map(thousandths => thousandths / 1_000)
  const hex = (length: number) => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })

  test('depends on the random end of the trace id alone', () => {
    fc.assert(
      fc.property(hex(18), hex(18), hex(14), share, (left, other, end, kept) => {
        expect(isKept(left + end, kept)).toBe(isKept(other + end, kept))
      }),
    )
  })

  test('keeps with a larger share whatever it keeps with a smaller one', () => {
    fc.assert(
      fc.property(hex(32), share, share, (traceId, a, b) => {
        if (isKept(traceId, Math.min(a, b))) expect(isKept(traceId, Math.max(a, b))).toBe(true)
      }),
    )
  })

  test('keeps the share that it is given', () => {
    const count = 4_096
    // Trace ids that are spread evenly over the numbers that decide.
    const traceIds = Array.from({ length: count }, (_, i) => TRACE.slice(0, 19) + i.toString(16).padStart(3, '0') + '8'.repeat(10))
    fc.assert(
      fc.property(share, kept => {
        expect(Math.abs(traceIds.filter(traceId => isKept(traceId, kept)).length - kept * count)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test.each([TRACE, 'f'.repeat(32), `${'0'.repeat(31)}1`])('keeps %s of a share of 1 and not of 0', traceId => {
    expect([isKept(traceId, 1), isKept(traceId, 0)]).toEqual([true, false])
  })
})

describe('createTracing', () => {
  test('without an endpoint spans carry ids and are not sampled', async () => {
    const { tracer, close } = createTracing({ service: 'a' })
    const span = tracer.startSpan('work')
    expect(span.isRecording()).toBe(false)
    expect(traceHeaders(linkedSpan(tracer, 'work', undefined)).traceparent).toMatch(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-02$/)
    await close()
  })

  test('sends spans to the endpoint when it is closed', async () => {
    const requests: { url?: string; body: string }[] = []
    const collector = await listen((req, res) => {
      let body = ''
      req.on('data', chunk => (body += chunk))
      req.on('end', () => {
        requests.push({ ...(req.url && { url: req.url }), body })
        res.setHeader('content-type', 'application/json').end('{}')
      })
    })
    const { tracer, close } = createTracing({ service: 'a', version: '7', endpoint: `${collector.url}/` })
    tracer.startSpan('work').end()
    await close()
    expect(requests.map(({ url }) => url)).toEqual(['/v1/traces'])
    const [resource] = JSON.parse(requests[0]?.body ?? '').resourceSpans
    expect(resource.resource.attributes).toEqual(
      expect.arrayContaining([
        { key: 'service.name', value: { stringValue: 'a' } },
        { key: 'service.version', value: { stringValue: '7' } },
      ]),
    )
    expect(resource.scopeSpans[0].spans[0].name).toBe('work')
    await collector.close()
  })

  test('closes although the endpoint never answers', async () => {
    const collector = await listen(() => {})
    const { tracer, close } = createTracing({ service: 'a', endpoint: collector.url })
    tracer.startSpan('work').end()
    const startedAt = performance.now()
    await close()
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    await collector.close()
  })

  test('keeps 4,096 spans at the most for an endpoint that hangs, and sends them when it is closed', async () => {
    let hangs = true
    let spans = 0
    const collector = await listen((req, res) => {
      let body = ''
      req.on('data', chunk => {
        body += chunk
      })
      req.on('end', () => {
        if (hangs) return
        spans += body.split('"spanId"').length - 1
        res.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      })
    })
    const { tracer, close } = createTracing({ service: 'booking', endpoint: collector.url })
    for (let n = 0; n < 20_000; n++) {
      tracer.startSpan('work').end()
      if (n % 500 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    hangs = false
    await close()
    await collector.close()
    expect(spans).toBeGreaterThan(2 * 512)
    expect(spans).toBeLessThanOrEqual(4_096)
  })

  test('closes although nobody listens at the endpoint', async () => {
    const gone = await listen(() => {})
    await gone.close()
    const { tracer, close } = createTracing({ service: 'a', endpoint: gone.url })
    tracer.startSpan('work').end()
    await expect(close()).resolves.toBeUndefined()
  })

  describe('with a processor', () => {
    beforeEach(() => {
      vi.useFakeTimers()
    })
    afterEach(() => {
      vi.useRealTimers()
    })

    const processor = (shutdown: () => Promise<void>) => ({ onStart: () => {}, onEnd: () => {}, forceFlush: async () => {}, shutdown })

    test('that never shuts down closes after 2 s', async () => {
      const closed = vi.fn()
      void createTracing({ service: 'a', processor: processor(() => new Promise(() => {})) })
        .close()
        .then(closed)
      await vi.advanceTimersByTimeAsync(1_999)
      expect(closed).not.toHaveBeenCalled()
      await vi.advanceTimersByTimeAsync(1)
      expect(closed).toHaveBeenCalled()
    })

    test('that fails closes all the same', async () => {
      await expect(createTracing({ service: 'a', processor: processor(() => Promise.reject(new Error('boom'))) }).close()).resolves.toBeUndefined()
    })
  })
})
