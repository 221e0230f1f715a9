import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import type { Principal } from '../identity/auth.ts'
import { arrivalOf } from './admission.ts'
import type { Convention } from './convention.ts'

/** One line per request, at a level by status. The raw path is not logged: it is the caller's text. */
export function accessLog(log: Logger, convention: Convention): Middleware {
  return async (ctx, next) => {
    const startedAt = arrivalOf(ctx.req)
    try {
      await next()
    } finally {
      const fault = convention.fault(ctx)
      const line = {
        trace_id: ctx.state.traceId,
        ...convention.line(ctx),
        code: ctx.state.problem?.code,
        ...caller(ctx.state.principal),
        duration_ms: Math.round((performance.now() - startedAt) * 100) / 100,
      }
      if (fault === 'server') log.error(line, 'request')
      else if (fault === 'caller') log.warn(line, 'request')
      else log.info(line, 'request')
    }
  }
}

/** By ids alone, and only when a token proved them. */
function caller(principal: Principal | undefined): Record<string, string | undefined> | undefined {
  if (!principal) return undefined
  return principal.kind === 'user' ? { user_id: principal.id, session_id: principal.sessionId } : { workload: principal.id }
}
