import type { Context, Middleware } from 'koa'
import type { Logger } from 'pino'
import { CallError } from '../contract/call-error.ts'
import { deadlineExceeded, Failure, type FailureKind, unavailable } from '../contract/failure.ts'
import { PROBLEM_CONTENT_TYPE, problemDocument } from '../contract/problem-document.ts'
import { Cancelled } from '../contract/scope.ts'

export interface ProblemOptions {
  /** Further members of the problem object, e.g. `{ orderId }`. Never secrets. */
  extra?: Record<string, unknown>
  /** Response headers, e.g. `{ connection: 'close' }`. */
  headers?: Record<string, string>
  cause?: unknown
}

/** A failure as HTTP has it, and what HTTP alone knows, e.g. 405 and 413. */
export class ProblemError extends Error {
  override name = 'ProblemError'
  readonly status: number
  readonly code: string
  readonly extra: Record<string, unknown>
  readonly headers: Record<string, string>

  constructor(status: number, code: string, detail: string, options: ProblemOptions = {}) {
    super(detail, { cause: options.cause })
    this.status = status
    this.code = code
    this.extra = options.extra ?? {}
    this.headers = options.headers ?? {}
  }

  toJSON(): Record<string, unknown> {
    return problemDocument({ status: this.status, code: this.code, detail: this.message, extra: this.extra })
  }
}

/** RFC 9110 section 15, RFC 6585 for 429. */
const STATUS: Record<FailureKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  refused: 422,
  'too-many': 429,
  internal: 500,
  unavailable: 503,
  'deadline-exceeded': 504,
}

/** A failure with its status and headers: 401 with the challenge that RFC 6750 section 3 asks for. @param more headers */
export function problemOf(failure: Failure, more: Record<string, string> = {}): ProblemError {
  const { kind, code, message, options } = failure
  const { extra, retryAfterSeconds, invalidToken } = options
  const headers = {
    ...(kind === 'unauthenticated' && { 'www-authenticate': `Bearer realm="fairlead"${invalidToken ? ', error="invalid_token"' : ''}` }),
    ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
    ...more,
  }
  return new ProblemError(STATUS[kind], code, message, { ...(extra && { extra }), headers, cause: failure.cause })
}

/**
 * Whatever was thrown, as a problem: a callee that a handler cannot do without and that did not answer becomes a 503, a stranger a 500 that
 * tells nothing internal.
 */
export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof Cancelled) return new ProblemError(499, 'cancelled', 'The caller gave up', { cause: error })
  if (error instanceof Failure) return problemOf(error)
  if (error instanceof CallError)
    return problemOf(
      error.code === 'deadline-exceeded' ? deadlineExceeded(error) : unavailable('A service that is needed for this did not answer', error),
    )
  return new ProblemError(500, 'internal', 'Something went wrong here; the log has it under this traceId', { cause: error })
}

const GONE = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR'])

/** For `app.on('error', ...)`: what happens outside the stages. A caller who hangs up, or breaks off in the middle (HPE_*), is no failure of ours. */
export const logStray =
  (log: Logger) =>
  (error: NodeJS.ErrnoException): void => {
    if (GONE.has(error.code ?? '') || error.code?.startsWith('HPE_')) log.debug({ code: error.code }, 'the caller hung up')
    else log.error({ err: error }, 'failed outside the pipeline')
  }

/** What was thrown as a problem, kept with the request. A 5xx is logged with its cause, a 4xx is not. */
export function noteProblem(ctx: Context, log: Logger, error: unknown): ProblemError {
  const problem = toProblem(error)
  ctx.state.problem = problem
  if (problem.status >= 500 && problem.code !== 'overloaded')
    log.error(
      { trace_id: ctx.state.traceId, code: problem.code, route: ctx.state.match?.operation?.path, err: problem.cause ?? error },
      'request failed',
    )
  return problem
}

/** The only writer of problem documents on the request path. */
export function problems(log: Logger): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      const problem = noteProblem(ctx, log, error)
      ctx.status = problem.status
      ctx.set(problem.headers)
      ctx.type = PROBLEM_CONTENT_TYPE
      // What to look for in the log, of a failure that tells nothing else.
      ctx.body = JSON.stringify(problem.code === 'internal' ? { ...problem.toJSON(), traceId: ctx.state.traceId } : problem)
    }
  }
}
