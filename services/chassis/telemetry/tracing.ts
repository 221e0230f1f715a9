import { randomFillSync } from 'node:crypto'
import {
  type Attributes,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  type TraceState,
  trace,
} from '@opentelemetry/api'
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
import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import type { Deadline } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import { formatTraceparent, parseTraceparent, parseTracestate } from './trace-context.ts'

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
    close: () => Promise.race([provider.shutdown(), new Promise<void>(resolve => setTimeout(resolve, 2_000).unref())]).catch(() => {}),
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

/**
 * The trace that a request names; `random` is kept on the side because the SDK drops that flag.
 * @param obeyed whether the caller decides that it is not recorded
 */
function remoteContext(
  headers: Record<string, string | string[] | undefined>,
  obeyed: boolean,
): { context: SpanContext; random: boolean } | undefined {
  const remote = parseTraceparent(headers.traceparent)
  if (!remote) return undefined
  const state = parseTracestate(headers.tracestate)
  const context: SpanContext = {
    traceId: remote.traceId,
    spanId: remote.spanId,
    traceFlags: remote.sampled || !obeyed ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
    ...(state && { traceState: opaqueTraceState(state) }),
  }
  return { context, random: remote.random }
}

/** Carries an already checked list as it came: OpenTelemetry's own class would re-order and re-judge it. */
const opaqueTraceState = (text: string): TraceState => ({
  get: () => undefined,
  set: () => opaqueTraceState(text),
  unset: () => opaqueTraceState(text),
  serialize: () => text,
})

const randomFlags = new WeakMap<Span, boolean>()

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

/** Share of the traces that are kept although nothing is wrong with them. */
export const KEPT_SHARE = 0.1

/** Tells the tail sampler what `isKept` said, so that both decide alike: exemplars lead to traces that are there. */
export const KEPT_ATTRIBUTE = 'sampling.kept'

/**
 * Whether a trace belongs to the share that is kept although nothing is wrong with it: the same answer in every process,
 * because it depends on the trace id's last 7 bytes alone (W3C level 2 says that these are random).
 */
export const isKept = (traceId: string, share: number): boolean => Number.parseInt(traceId.slice(-13), 16) < share * 2 ** 52

const NO_DEADLINE: Deadline = {
  signal: new AbortController().signal,
  remainingMs: () => Number.POSITIVE_INFINITY,
  tighten: () => {},
  clear: () => {},
}

/** The log with the trace's id is made when it is asked for: most requests never do. */
const createScope = (span: Span, log: Logger): Scope => ({
  deadline: NO_DEADLINE,
  span,
  get log() {
    return log.child({ trace_id: span.spanContext().traceId })
  },
})

/** What a request that no workload sends becomes: part of the trace that it names, or a trace of its own with a link to that one. */
export type IngressTraces = 'continue' | 'link'

/**
 * Continues the caller's trace or starts one, and makes the request's scope. Needs `matchRoute` before it. A trace is a caller's to
 * name only between workloads: a stranger could switch tracing off, or have every one of its requests kept. With `continue` the ingress
 * names it; whether it is recorded remains ours to say.
 */
export function traceContext(tracer: Tracer, log: Logger, ingressTraces: IngressTraces = 'link'): Middleware {
  return async (ctx, next) => {
    const { operation } = ctx.state.match
    const ofWorkload = operation?.auth === 'workload'
    const remote = remoteContext(ctx.headers, ofWorkload)
    const continued = ofWorkload || ingressTraces === 'continue'
    const route = operation?.path
    const span = tracer.startSpan(
      route ? `${ctx.method} ${route}` : ctx.method,
      {
        kind: SpanKind.SERVER,
        attributes: { 'http.request.method': ctx.method, 'url.scheme': 'http', ...(route && { 'http.route': route, 'url.path': ctx.path }) },
        ...(!continued && remote && { links: [{ context: remote.context }] }),
      },
      continued && remote ? trace.setSpanContext(ROOT_CONTEXT, remote.context) : ROOT_CONTEXT,
    )
    randomFlags.set(span, continued && remote ? remote.random : true)
    const { traceId } = span.spanContext()
    ctx.state.traceId = traceId
    if (isKept(traceId, KEPT_SHARE)) span.setAttribute(KEPT_ATTRIBUTE, true)
    ctx.state.scope = createScope(span, log)
    try {
      await next()
    } finally {
      span.setAttribute('http.response.status_code', ctx.status)
      if (ctx.status >= 500) {
        span.setAttribute('error.type', ctx.state.problem?.code ?? String(ctx.status))
        span.setStatus({ code: SpanStatusCode.ERROR })
      }
      span.end()
    }
  }
}
