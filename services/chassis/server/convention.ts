import type { Attributes } from '@opentelemetry/api'
import type { Context } from 'koa'
import type { Gauge, Histogram } from 'prom-client'
import type { Metrics } from '../telemetry/metrics.ts'
import { fixed } from '../telemetry/otlp.ts'

/** How a transport calls what it carries in traces, metrics and logs, by OpenTelemetry's conventions for it. */
export interface Convention {
  spanName(ctx: Context): string
  /** Known before the request is handled. Requests of one operation have the same object. */
  attributes(ctx: Context): Attributes
  /** Once it is answered: whose fault it is, nobody's, the caller's or ours. */
  fault(ctx: Context): 'none' | 'caller' | 'server'
  /** The same, of a failure of ours. */
  errorType(ctx: Context): string
  /** The same. */
  outcome(ctx: Context): Attributes
  duration: Histogram
  /** Labels of `duration`. */
  labels(ctx: Context): Record<string, string | number>
  active: Gauge
  /** For the log: what was asked for, and how it was answered. */
  line(ctx: Context): Record<string, unknown>
}

/** Of the duration of a request. @param route the operation's path, if there is one */
export const labelsOf = (method: string, route: string | undefined, status: number) => ({
  http_request_method: METHODS.has(method) ? method : '_OTHER',
  http_route: route ?? '',
  http_response_status_code: status,
})

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** https://opentelemetry.io/docs/specs/semconv/http/ */
export const httpConvention = (metrics: Metrics): Convention => {
  const known = new Map<string, Attributes>()
  return {
    spanName: spanNameOf,
    attributes: ctx => {
      const route = ctx.state.match.operation?.path
      // A method of which there is no operation is the caller's text.
      if (!route) return { 'http.request.method': ctx.method, 'url.scheme': 'http' }
      const name = spanNameOf(ctx)
      const attributes = known.get(name) ?? fixed({ 'http.request.method': ctx.method, 'url.scheme': 'http', 'http.route': route })
      known.set(name, attributes)
      return attributes
    },
    fault: ctx => (ctx.status >= 500 ? 'server' : ctx.status >= 400 ? 'caller' : 'none'),
    errorType: ctx => ctx.state.problem?.code ?? String(ctx.status),
    outcome: ctx => ({ 'http.response.status_code': ctx.status, ...(ctx.state.match.operation && { 'url.path': ctx.path }) }),
    duration: metrics.serverDuration,
    labels: ctx => labelsOf(ctx.method, ctx.state.match.operation?.path, ctx.status),
    active: metrics.serverActive,
    line: ctx => ({ method: ctx.method, route: ctx.state.match.operation?.path, status: ctx.status, bytes: ctx.length ?? 0 }),
  }
}

function spanNameOf(ctx: Context): string {
  const route = ctx.state.match.operation?.path
  return route ? `${ctx.method} ${route}` : ctx.method
}
