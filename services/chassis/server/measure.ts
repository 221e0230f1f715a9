import type { Middleware } from 'koa'
import type { Metrics } from '../telemetry/metrics.ts'

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Rate, errors and duration of every request, by route template. */
export function measureRequests(metrics: Metrics): Middleware {
  return async (ctx, next) => {
    const startedAt = performance.now()
    metrics.serverActive.inc()
    try {
      await next()
    } finally {
      const seconds = (performance.now() - startedAt) / 1_000
      metrics.serverActive.dec()
      const exemplar = metrics.exemplar(ctx.state.scope.span, seconds, ctx.status >= 500)
      metrics.serverDuration.observe({
        labels: {
          http_request_method: METHODS.has(ctx.method) ? ctx.method : '_OTHER',
          http_route: ctx.state.match.operation?.path ?? '',
          http_response_status_code: ctx.status,
        },
        value: seconds,
        exemplarLabels: exemplar ?? {},
      } as never)
    }
  }
}
