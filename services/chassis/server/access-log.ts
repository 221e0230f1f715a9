import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import type { Principal } from '../identity/auth.ts'

/** One line a request, at a level by status. The raw path is not logged: it is the caller's text. */
export function accessLog(log: Logger): Middleware {
  return async (ctx, next) => {
    const startedAt = performance.now()
    try {
      await next()
    } finally {
      const { status } = ctx
      const line = {
        trace_id: ctx.state.traceId,
        method: ctx.method,
        route: ctx.state.match.operation?.path,
        status,
        code: ctx.state.problem?.code,
        ...caller(ctx.state.principal),
        duration_ms: Math.round((performance.now() - startedAt) * 100) / 100,
        bytes: ctx.length ?? 0,
      }
      if (status >= 500) log.error(line, 'request')
      else if (status >= 400) log.warn(line, 'request')
      else log.info(line, 'request')
    }
  }
}

/** By ids alone, and only when a token proved them. */
function caller(principal: Principal | undefined): Record<string, string | undefined> | undefined {
  if (!principal) return undefined
  return principal.kind === 'user' ? { user_id: principal.id, session_id: principal.sessionId } : { workload: principal.id }
}
