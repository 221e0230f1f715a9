import { context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createTracer, type EndedSpan } from '../../../services/chassis/telemetry/spans.ts'

let ended: EndedSpan[]
beforeEach(() => {
  ended = []
})
afterEach(() => void vi.useRealTimers())

const tracer = createTracer({ resource: { 'service.name': 'a' }, sink: { onEnd: span => void ended.push(span) } })
const only = () => {
  expect(ended).toHaveLength(1)
  return ended[0] as EndedSpan
}

describe('a span', () => {
  test('has what it is given, and nothing more once it has ended', () => {
    const given = Object.freeze({ a: 1, b: 'two' })
    const span = tracer.startSpan('work', { kind: SpanKind.CLIENT, attributes: given })
    span
      .setAttribute('c', true)
      .setAttributes({ b: 'three', d: [1, 2] })
      .updateName('other work')
    span.setStatus({ code: SpanStatusCode.ERROR, message: 'why' })
    expect(span.isRecording()).toBe(true)
    span.end()
    expect(span.isRecording()).toBe(false)
    span.setAttribute('late', 1).setStatus({ code: SpanStatusCode.OK }).updateName('late').addEvent('late').addLink({ context: span.spanContext() })
    span.end()
    expect(only()).toMatchObject({
      name: 'other work',
      kind: SpanKind.CLIENT,
      status: { code: SpanStatusCode.ERROR, message: 'why' },
      events: [],
      links: [],
    })
    expect(only().attributes).toEqual({ a: 1, b: 'three', c: true, d: [1, 2] })
    expect(given).toEqual({ a: 1, b: 'two' })
    expect(only().resource.attributes).toEqual({ 'service.name': 'a' })
  })

  test('that is ok stays so, and unset changes nothing', () => {
    const span = tracer.startSpan('work')
    span.setStatus({ code: SpanStatusCode.ERROR }).setStatus({ code: SpanStatusCode.UNSET })
    expect((span as unknown as EndedSpan).status.code).toBe(SpanStatusCode.ERROR)
    span.setStatus({ code: SpanStatusCode.OK }).setStatus({ code: SpanStatusCode.ERROR })
    expect((span as unknown as EndedSpan).status.code).toBe(SpanStatusCode.OK)
  })

  test('has times of its own clock, or those that it is told', () => {
    vi.useFakeTimers({ now: 1_700_000_000_000 })
    vi.advanceTimersByTime(2_000)
    const span = tracer.startSpan('work')
    vi.advanceTimersByTime(250)
    span.addEvent('half')
    vi.advanceTimersByTime(250)
    span.end()
    expect(only().duration).toEqual([0, 500_000_000])
    expect(only().startTime).toEqual([1_700_000_002, 0])
    expect(only().events[0]?.time).toEqual([1_700_000_002, 250_000_000])
    ended = []
    tracer.startSpan('told', { startTime: new Date(1_000) }).end([2, 500_000_000])
    expect([only().startTime, only().endTime]).toEqual([
      [1, 0],
      [2, 500_000_000],
    ])
  })

  test('never ends before it began', () => {
    tracer.startSpan('work', { startTime: new Date(5_000) }).end(new Date(4_000))
    expect(only().duration).toEqual([0, 0])
  })

  test('is held to 128 attributes, events and links, and counts the others', () => {
    const span = tracer.startSpan('work', { links: Array.from({ length: 130 }, () => ({ context: trace.getSpanContext(ROOT_CONTEXT) as never })) })
    for (let n = 0; n < 130; n++) span.setAttribute(`a${n}`, n).addEvent(`e${n}`)
    span.setAttribute('a0', 'changed')
    span.end()
    expect(Object.keys(only().attributes)).toHaveLength(128)
    expect(only().attributes.a0).toBe('changed')
    expect(only()).toMatchObject({ droppedAttributesCount: 2, droppedEventsCount: 2, droppedLinksCount: 2 })
  })

  test.each([
    [
      new TypeError('bad'),
      { 'exception.type': 'TypeError', 'exception.message': 'bad', 'exception.stacktrace': expect.stringContaining('TypeError: bad') },
    ],
    [Object.assign(new Error('gone'), { code: 'ECONNRESET' }), expect.objectContaining({ 'exception.type': 'ECONNRESET' })],
    ['text', { 'exception.message': 'text' }],
  ])('records the exception %o as an event', (exception, attributes) => {
    const span = tracer.startSpan('work')
    span.recordException(exception)
    span.end()
    expect(only().events).toEqual([{ name: 'exception', time: expect.any(Array), attributes }])
  })
})

describe('the trace', () => {
  test('is the parent’s, with its state; a root has one of its own', () => {
    const traceState = { get: () => undefined, set: () => traceState, unset: () => traceState, serialize: () => 'a=1' }
    const parent = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: TraceFlags.SAMPLED, isRemote: true, traceState }
    const within = trace.setSpanContext(ROOT_CONTEXT, parent)
    const child = tracer.startSpan('child', {}, within)
    expect(child.spanContext()).toEqual({ traceId: parent.traceId, spanId: expect.stringMatching(/^[0-9a-f]{16}$/), traceFlags: 1, traceState })
    const root = tracer.startSpan('root', { root: true }, within)
    expect(root.spanContext().traceId).not.toBe(parent.traceId)
    root.end()
    expect(only().parentSpanContext).toBeUndefined()
  })

  test('of ids that are none is not continued', () => {
    const within = trace.setSpanContext(ROOT_CONTEXT, { traceId: '0'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 })
    expect(tracer.startSpan('work', {}, within).spanContext().traceId).not.toBe('0'.repeat(32))
  })

  test('that is not sampled is carried on and not recorded', () => {
    const within = trace.setSpanContext(ROOT_CONTEXT, { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: TraceFlags.NONE })
    const span = tracer.startSpan('work', {}, within)
    expect(span.isRecording()).toBe(false)
    expect(span.spanContext()).toMatchObject({ traceId: 'a'.repeat(32), traceFlags: TraceFlags.NONE })
    span.end()
    expect(ended).toEqual([])
  })

  test('without a sink has ids alone', () => {
    const span = createTracer({ resource: {}, sink: undefined }).startSpan('work')
    expect([span.isRecording(), span.spanContext().traceFlags]).toEqual([false, TraceFlags.NONE])
  })
})

describe('startActiveSpan', () => {
  test.each([
    ['a name and work', (work: (span: Span) => string) => tracer.startActiveSpan('work', work)],
    ['options', (work: (span: Span) => string) => tracer.startActiveSpan('work', { kind: SpanKind.SERVER }, work)],
    ['a context', (work: (span: Span) => string) => tracer.startActiveSpan('work', {}, ROOT_CONTEXT, work)],
  ])('gives the span to the work, and what that gives back, with %s', (_with, start) => {
    expect(
      start(span => {
        span.end()
        return 'done'
      }),
    ).toBe('done')
    expect(only().name).toBe('work')
  })

  test('makes the span active where somebody manages contexts', () => {
    const manager = {
      active: () => stack.at(-1) ?? ROOT_CONTEXT,
      with: (one: never, work: (...args: never[]) => unknown, _this: unknown, ...args: never[]) => {
        stack.push(one)
        try {
          return work(...args)
        } finally {
          stack.pop()
        }
      },
      bind: (_: never, target: never) => target,
      enable: () => manager,
      disable: () => manager,
    }
    const stack: never[] = []
    context.setGlobalContextManager(manager as never)
    try {
      tracer.startActiveSpan('outer', outer => {
        const inner = tracer.startSpan('inner')
        expect(inner.spanContext().traceId).toBe(outer.spanContext().traceId)
        inner.end()
        expect(only().parentSpanContext?.spanId).toBe(outer.spanContext().spanId)
      })
    } finally {
      context.disable()
    }
  })
})
