import { type Attributes, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from '@opentelemetry/api'
import { atMost } from '../contract/deadline.ts'
import { isKept, KEPT_ATTRIBUTE, KEPT_SHARE } from '../contract/sampling.ts'
import { openExporter } from './exporter.ts'
import { createTracer, randomHex, type SpanSink } from './spans.ts'
import { formatTraceparent, parseTraceparent } from './trace-context.ts'

export interface TracingOptions {
  service: string
  version?: string
  /** OTLP/HTTP base URL, e.g. `http://127.0.0.1:4318`; without one spans only carry ids. */
  endpoint?: string
  /** Told how many spans are lost, each time that some are. */
  onLost?: (count: number) => void
  /** For tests: where ended spans go instead of the endpoint. OpenTelemetry's own processors fit. */
  processor?: SpanProcessor
}

export interface SpanProcessor extends SpanSink {
  shutdown(): Promise<void>
}

export interface Tracing {
  tracer: Tracer
  /** Sends what is queued, at most 2 s long. Never throws: telemetry is not worth a failed exit. */
  close(): Promise<void>
}

export function createTracing({ service, version, endpoint, onLost, processor }: TracingOptions): Tracing {
  const resource = { 'service.name': service, ...(version && { 'service.version': version }) }
  const exporter = endpoint && !processor ? openExporter({ endpoint, resource, ...(onLost && { onLost }) }) : undefined
  const sink = processor ?? exporter
  return {
    tracer: createTracer({ resource, sink }),
    close: () => atMost(2_000, Promise.resolve(processor ? processor.shutdown() : exporter?.close())).catch(() => {}),
  }
}

const randomFlags = new WeakMap<Span, boolean>()

/** Keeps the random flag of a span's trace, which the SDK drops. */
export const keepRandomFlag = (span: Span, random: boolean): void => void randomFlags.set(span, random)

/** The headers that continue `span`'s trace in another process. */
export function traceHeaders(span: Span): Record<string, string> {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext()
  const sampled = (traceFlags & TraceFlags.SAMPLED) !== 0
  const headers: Record<string, string> = { traceparent: formatTraceparent({ traceId, spanId, sampled, random: randomFlags.get(span) ?? false }) }
  const state = traceState?.serialize()
  if (state) headers.tracestate = state
  return headers
}

export interface ChildOptions {
  kind?: SpanKind
  attributes?: Attributes
}

/** A span below `parent`. */
export function childSpan(tracer: Tracer, parent: Span, name: string, { kind = SpanKind.INTERNAL, attributes = {} }: ChildOptions = {}): Span {
  const span = tracer.startSpan(name, { kind, attributes }, trace.setSpan(ROOT_CONTEXT, parent))
  randomFlags.set(span, randomFlags.get(parent) ?? false)
  return span
}

/** For work that goes on and on whether or not there is anything to do: ids for its log lines, and nothing that is sent. */
export const unrecordedSpan = (): Span => trace.wrapSpanContext({ traceId: randomHex(16), spanId: randomHex(8), traceFlags: TraceFlags.NONE })

/**
 * A span that starts a trace of its own, linked to the trace that caused it (`traceparent` as text). It belongs to the kept share when
 * that one does, too: whoever looks at an order finds what was done for it later.
 */
export function linkedSpan(tracer: Tracer, name: string, traceparent: string | undefined, kind = SpanKind.CONSUMER): Span {
  const cause = parseTraceparent(traceparent)
  const links = cause ? [{ context: { traceId: cause.traceId, spanId: cause.spanId, traceFlags: cause.sampled ? 1 : 0, isRemote: true } }] : []
  const span = tracer.startSpan(name, { kind, links, root: true }, ROOT_CONTEXT)
  randomFlags.set(span, true)
  if ([span.spanContext().traceId, cause?.traceId].some(id => id !== undefined && isKept(id, KEPT_SHARE))) span.setAttribute(KEPT_ATTRIBUTE, true)
  return span
}

/** Marks a span as failed by the kind of error alone: messages can hold values. */
export function failSpan(span: Span, error: unknown): void {
  span.setAttribute('error.type', (error as { code?: string }).code ?? (error as Error)?.name ?? 'unknown')
  span.setStatus({ code: SpanStatusCode.ERROR })
}
