import type { Middleware } from 'koa'
import type { Metrics } from '../telemetry/metrics.ts'
import { arrivalOf } from './admission.ts'
import type { Convention } from './convention.ts'

/** Rate, errors and duration of every request, by operation. */
export function measureRequests(metrics: Metrics, convention: Convention): Middleware {
  const { active, duration } = convention
  return async (ctx, next) => {
    const startedAt = arrivalOf(ctx.req)
    active.inc()
    try {
      await next()
    } finally {
      const seconds = (performance.now() - startedAt) / 1_000
      active.dec()
      const exemplar = metrics.exemplar(ctx.state.scope.span, seconds, convention.fault(ctx) === 'server')
      duration.observe({ labels: convention.labels(ctx), value: seconds, exemplarLabels: exemplar ?? {} } as never)
    }
  }
}
