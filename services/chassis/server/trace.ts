import {
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
import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import type { Deadline } from '../contract/deadline.ts'
import { isKept, KEPT_ATTRIBUTE, KEPT_SHARE } from '../contract/sampling.ts'
import type { Scope } from '../contract/scope.ts'
import { parseTraceparent, parseTracestate } from '../telemetry/trace-context.ts'
import { keepRandomFlag } from '../telemetry/tracing.ts'
import { arrivalOf } from './admission.ts'
import type { Convention } from './convention.ts'

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
export function traceContext(tracer: Tracer, log: Logger, convention: Convention, ingressTraces: IngressTraces = 'link'): Middleware {
  return async (ctx, next) => {
    const { operation } = ctx.state.match
    const ofWorkload = operation?.auth === 'workload'
    const remote = remoteContext(ctx.headers, ofWorkload)
    const continued = ofWorkload || ingressTraces === 'continue'
    const span = tracer.startSpan(
      convention.spanName(ctx),
      {
        kind: SpanKind.SERVER,
        // What it has waited to be begun is part of it, as of the histogram.
        startTime: arrivalOf(ctx.req),
        attributes: convention.attributes(ctx),
        ...(!continued && remote && { links: [{ context: remote.context }] }),
      },
      continued && remote ? trace.setSpanContext(ROOT_CONTEXT, remote.context) : ROOT_CONTEXT,
    )
    keepRandomFlag(span, continued && remote ? remote.random : true)
    const { traceId } = span.spanContext()
    ctx.state.traceId = traceId
    if (isKept(traceId, KEPT_SHARE)) span.setAttribute(KEPT_ATTRIBUTE, true)
    ctx.state.scope = createScope(span, log)
    try {
      await next()
    } finally {
      span.setAttributes(convention.outcome(ctx))
      if (convention.fault(ctx) === 'server') {
        span.setAttribute('error.type', convention.errorType(ctx))
        span.setStatus({ code: SpanStatusCode.ERROR })
      }
      span.end()
    }
  }
}
