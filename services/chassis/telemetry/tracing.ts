import { randomFillSync } from 'node:crypto'
import { type Attributes, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { atMost } from '../contract/deadline.ts'
import { isKept, KEPT_ATTRIBUTE, KEPT_SHARE } from '../contract/sampling.ts'
import { formatTraceparent, parseTraceparent } from './trace-context.ts'

export interface TracingOptions {
  service: string
  version?: string
  /** OTLP/HTTP base URL, e.g. `http://127.0.0.1:4318`; without one spans only carry ids. */
  endpoint?: string
  /** For tests: where ended spans go instead of the endpoint. */
  processor?: SpanProcessor
}

export interface Tracing {
  tracer: Tracer
  /** Sends what is queued, at most 2 s long. Never throws: telemetry is not worth a failed exit. */
  close(): Promise<void>
}

export function createTracing({ service, version, endpoint, processor }: TracingOptions): Tracing {
  const processors = processor ? [processor] : endpoint ? [batchTo(endpoint)] : []
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': service, ...(version && { 'service.version': version }) }),
    sampler: new ParentBasedSampler({ root: processors.length > 0 ? new AlwaysOnSampler() : new AlwaysOffSampler() }),
    idGenerator: { generateTraceId: () => randomHex(16), generateSpanId: () => randomHex(8) },
    spanProcessors: processors,
  })
  return {
    tracer: provider.getTracer('fairlead'),
    close: () => atMost(2_000, provider.shutdown()).catch(() => {}),
  }
}

const MAX_QUEUED_SPANS = 4_096
const MAX_BATCH_SPANS = 512

/** The queue is bounded: with the collector gone spans are dropped and nothing else changes. */
const batchTo = (endpoint: string) =>
  new BatchSpanProcessor({
    exporter: new OTLPTraceExporter({
      url: `${endpoint.replace(/\/$/, '')}/v1/traces`,
      timeoutMillis: 2_000,
      // At the end a full queue goes out at once, beside the batch under way.
      concurrencyLimit: MAX_QUEUED_SPANS / MAX_BATCH_SPANS + 1,
    }),
    maxQueueSize: MAX_QUEUED_SPANS,
    maxExportBatchSize: MAX_BATCH_SPANS,
    scheduledDelayMillis: 1_000,
    exportTimeoutMillis: 2_000,
  })

const pool = Buffer.alloc(4_096)
let used = pool.length

/** Hex digits of `bytes` random bytes, never all zero; all are random, as the level 2 random flag promises. */
function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const hex = pool.toString('hex', used, used + bytes)
  used += bytes
  return /^0+$/.test(hex) ? randomHex(bytes) : hex
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
