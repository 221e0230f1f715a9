import { randomFillSync } from 'node:crypto'
import {
  type Attributes,
  type AttributeValue,
  type Context,
  context as contexts,
  type Exception,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'

/** Seconds and nanoseconds, as OpenTelemetry's own span has them. */
type HrTime = [number, number]

export interface SpanEvent {
  name: string
  time: HrTime
  attributes?: Attributes
}

/** A span that has ended, with the names that OpenTelemetry's processors and exporters read. */
export interface EndedSpan {
  readonly name: string
  readonly kind: SpanKind
  spanContext(): SpanContext
  readonly parentSpanContext: SpanContext | undefined
  readonly startTime: HrTime
  readonly endTime: HrTime
  readonly duration: HrTime
  readonly ended: boolean
  readonly status: SpanStatus
  /** Those that it began with: of many spans they are one object. */
  readonly given: Attributes
  /** Those that came later, and those of `given` that were changed. */
  readonly added: Attributes
  readonly attributes: Attributes
  readonly events: SpanEvent[]
  readonly links: Link[]
  readonly droppedAttributesCount: number
  readonly droppedEventsCount: number
  readonly droppedLinksCount: number
  readonly resource: { attributes: Attributes; asyncAttributesPending?: boolean }
  readonly instrumentationScope: { name: string }
}

/** Where spans go that have ended. */
export interface SpanSink {
  onEnd(span: EndedSpan): void
}

export interface TracerOptions {
  /** What the spans are of, e.g. `service.name`. */
  resource: Attributes
  /** Without one nothing is recorded: spans only carry ids. */
  sink: SpanSink | undefined
}

/** Of attributes, events and links of one span. https://opentelemetry.io/docs/specs/otel/common/#configurable-parameters */
const MAX_COUNT = 128
const SCOPE = { name: 'fairlead' }
const NOTHING: Attributes = Object.freeze({})

/**
 * A tracer behind OpenTelemetry's API that keeps spans as plain records. A root is recorded, anything else where its parent is.
 * Source: https://opentelemetry.io/docs/specs/otel/trace/api/
 */
export function createTracer({ resource, sink }: TracerOptions): Tracer {
  const of = { attributes: resource, asyncAttributesPending: false }
  const startSpan: Tracer['startSpan'] = (name, options = {}, context = contexts.active()) => {
    const parent = options.root ? undefined : parentIn(context)
    const traceId = parent?.traceId ?? randomHex(16)
    const sampled = sink !== undefined && (parent ? (parent.traceFlags & TraceFlags.SAMPLED) !== 0 : true)
    const spanContext: SpanContext = {
      traceId,
      spanId: randomHex(8),
      traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
      ...(parent?.traceState && { traceState: parent.traceState }),
    }
    if (!sampled) return trace.wrapSpanContext(spanContext)
    return new RecordedSpan(name, spanContext, parent, options, of, sink as SpanSink)
  }
  return {
    startSpan,
    startActiveSpan: ((name: string, ...rest: unknown[]) => {
      const work = rest.pop() as (span: Span) => unknown
      const [options, context = contexts.active()] = rest as [SpanOptions?, Context?]
      const span = startSpan(name, options, context)
      return contexts.with(trace.setSpan(context, span), work, undefined, span)
    }) as Tracer['startActiveSpan'],
  }
}

function parentIn(context: Context): SpanContext | undefined {
  const parent = trace.getSpanContext(context)
  return parent && trace.isSpanContextValid(parent) ? parent : undefined
}

/** What performance.now() counts from, in milliseconds of Unix time: looked at anew each second, for the system's clock is set now and then. */
let origin = Date.now() - performance.now()
let originAt = performance.now()

function nowMs(): number {
  const now = performance.now()
  if (now - originAt > 1_000) {
    origin = Date.now() - now
    originAt = now
  }
  return origin + now
}

/** @param time Unix time or performance.now() in milliseconds, a Date, or seconds and nanoseconds */
function toMs(time: TimeInput): number {
  if (Array.isArray(time)) return time[0] * 1_000 + time[1] / 1e6
  if (time instanceof Date) return time.getTime()
  return time < origin ? origin + time : time
}

const toHrTime = (ms: number): HrTime => [Math.trunc(ms / 1_000), Math.round((ms % 1_000) * 1e6)]

class RecordedSpan implements Span, EndedSpan {
  name: string
  readonly kind: SpanKind
  readonly parentSpanContext: SpanContext | undefined
  readonly resource: EndedSpan['resource']
  readonly instrumentationScope = SCOPE
  given: Attributes
  added: Attributes = NOTHING
  status: SpanStatus = { code: SpanStatusCode.UNSET }
  readonly events: SpanEvent[] = []
  readonly links: Link[]
  droppedAttributesCount = 0
  droppedEventsCount = 0
  droppedLinksCount: number
  ended = false
  private readonly own: SpanContext
  private readonly sink: SpanSink
  private readonly startMs: number
  private endMs = 0

  constructor(
    name: string,
    own: SpanContext,
    parent: SpanContext | undefined,
    options: SpanOptions,
    resource: EndedSpan['resource'],
    sink: SpanSink,
  ) {
    this.name = name
    this.own = own
    this.parentSpanContext = parent
    this.kind = options.kind ?? SpanKind.INTERNAL
    this.given = options.attributes ?? NOTHING
    this.links = options.links?.slice(0, MAX_COUNT) ?? []
    this.droppedLinksCount = Math.max(0, (options.links?.length ?? 0) - MAX_COUNT)
    this.startMs = options.startTime === undefined ? nowMs() : toMs(options.startTime)
    this.resource = resource
    this.sink = sink
  }

  get attributes(): Attributes {
    return { ...this.given, ...this.added }
  }
  get startTime(): HrTime {
    return toHrTime(this.startMs)
  }
  get endTime(): HrTime {
    return toHrTime(this.endMs)
  }
  get duration(): HrTime {
    return toHrTime(this.endMs - this.startMs)
  }

  spanContext(): SpanContext {
    return this.own
  }
  isRecording(): boolean {
    return !this.ended
  }
  setAttribute(key: string, value: AttributeValue): this {
    if (this.ended || value === undefined || value === null) return this
    if (this.added === NOTHING) this.added = {}
    if (key in this.given) {
      // Other spans began with the same object.
      const { [key]: _, ...others } = this.given
      this.given = others
    } else if (!(key in this.added) && Object.keys(this.added).length >= MAX_COUNT) {
      this.droppedAttributesCount++
      return this
    }
    this.added[key] = value
    return this
  }
  setAttributes(attributes: Attributes): this {
    for (const key in attributes) this.setAttribute(key, attributes[key] as AttributeValue)
    return this
  }
  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    if (this.ended) return this
    const isTime = typeof attributesOrTime === 'number' || attributesOrTime instanceof Date || Array.isArray(attributesOrTime)
    const at = isTime ? (attributesOrTime as TimeInput) : time
    const attributes = isTime ? undefined : (attributesOrTime as Attributes | undefined)
    if (this.events.length >= MAX_COUNT) this.droppedEventsCount++
    else this.events.push({ name, time: toHrTime(at === undefined ? nowMs() : toMs(at)), ...(attributes && { attributes }) })
    return this
  }
  addLink(link: Link): this {
    if (this.ended) return this
    if (this.links.length >= MAX_COUNT) this.droppedLinksCount++
    else this.links.push(link)
    return this
  }
  addLinks(links: Link[]): this {
    for (const link of links) this.addLink(link)
    return this
  }
  /** Ok is final, and unset changes nothing. */
  setStatus(status: SpanStatus): this {
    if (!this.ended && this.status.code !== SpanStatusCode.OK && status.code !== SpanStatusCode.UNSET) this.status = { ...status }
    return this
  }
  updateName(name: string): this {
    if (!this.ended) this.name = name
    return this
  }
  /** https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/ */
  recordException(exception: Exception, time?: TimeInput): void {
    const { name, code, message, stack } = (typeof exception === 'string' ? { message: exception } : exception) as {
      name?: string
      code?: string | number
      message?: string
      stack?: string
    }
    const type = code === undefined ? name : String(code)
    this.addEvent(
      'exception',
      {
        ...(type && { 'exception.type': type }),
        ...(message && { 'exception.message': message }),
        ...(stack && { 'exception.stacktrace': stack }),
      },
      time,
    )
  }
  end(endTime?: TimeInput): void {
    if (this.ended) return
    this.endMs = Math.max(this.startMs, endTime === undefined ? nowMs() : toMs(endTime))
    this.ended = true
    this.sink.onEnd(this)
  }
}

const pool = Buffer.alloc(4_096)
let used = pool.length

/** Hex digits of `bytes` random bytes, never all zero; all are random, as the level 2 random flag promises. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const hex = pool.toString('hex', used, used + bytes)
  used += bytes
  return /^0+$/.test(hex) ? randomHex(bytes) : hex
}
