import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import { CallError } from '../contract/call-error.ts'

export interface ProblemOptions {
  /** Further members of the problem object, e.g. `{ orderId }`. Never secrets. */
  extra?: Record<string, unknown>
  /** Response headers, e.g. `{ 'retry-after': '5' }`. */
  headers?: Record<string, string>
  cause?: unknown
}

/** An error that a caller may see. `code` is stable and is what programs test; `detail` is for people. */
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

  /** The RFC 9457 object. `type` is a URN made from `code`, so that it needs no host to resolve. */
  toJSON(): Record<string, unknown> {
    return {
      type: `urn:problem:${this.code}`,
      title: titleOf(this.code),
      status: this.status,
      detail: this.message,
      code: this.code,
      ...this.extra,
    }
  }
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json'

const titleOf = (code: string) => code.charAt(0).toUpperCase() + code.slice(1).replaceAll('-', ' ')

/** One wrong place in a request, e.g. `{ field: 'body.email', message: 'is missing' }`. */
export interface FieldProblem {
  field: string
  message: string
}

export function invalidRequest(errors: FieldProblem[]): ProblemError {
  const told = errors.slice(0, 20)
  const detail = told.map(e => `${e.field} ${e.message}`).join('; ')
  return new ProblemError(400, 'invalid-request', detail.slice(0, 1_000), { extra: { errors: told } })
}

export const unavailable = (detail: string, cause?: unknown) =>
  new ProblemError(503, 'unavailable', detail, { cause, headers: { 'retry-after': '1' } })

/** Too much work under way for one more. @param headers beside Retry-After */
export const overloaded = (headers: Record<string, string> = {}) =>
  new ProblemError(503, 'overloaded', 'Too much work is under way; try again shortly', { headers: { 'retry-after': '1', ...headers } })

/** One source has taken its share (RFC 6585 section 4): the others' is left to them. */
export const tooManyRequests = (detail: string, headers: Record<string, string> = {}) =>
  new ProblemError(429, 'too-many-requests', detail, { headers: { 'retry-after': '1', ...headers } })

export const deadlineExceeded = (cause?: unknown) =>
  new ProblemError(504, 'deadline-exceeded', 'The time for this request is spent; repeat it when it is idempotent', { cause })

/**
 * Whatever was thrown, as a problem: a callee that a handler cannot do without and that did not answer becomes a 503, a stranger a 500 that
 * tells nothing internal.
 */
export function toProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof CallError)
    return error.code === 'deadline-exceeded' ? deadlineExceeded(error) : unavailable('A service that is needed for this did not answer', error)
  return new ProblemError(500, 'internal', 'Something went wrong here; the log has it under this traceId', { cause: error })
}

const GONE = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_PREMATURE_CLOSE'])

/** For `app.on('error', ...)`: what happens outside the stages. A caller who hangs up, or breaks off in the middle (HPE_*), is no failure of ours. */
export const logStray =
  (log: Logger) =>
  (error: NodeJS.ErrnoException): void => {
    if (GONE.has(error.code ?? '') || error.code?.startsWith('HPE_')) log.debug({ code: error.code }, 'the caller hung up')
    else log.error({ err: error }, 'failed outside the pipeline')
  }

/** The only writer of problem documents on the request path. A 5xx is logged with its cause, a 4xx is not. */
export function problems(log: Logger): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      const problem = toProblem(error)
      ctx.state.problem = problem
      if (problem.status >= 500 && problem.code !== 'overloaded') {
        log.error(
          { trace_id: ctx.state.traceId, code: problem.code, route: ctx.state.match?.operation?.path, err: problem.cause ?? problem },
          'request failed',
        )
      }
      ctx.status = problem.status
      ctx.set(problem.headers)
      ctx.type = PROBLEM_CONTENT_TYPE
      // What to look for in the log, of a failure that tells nothing else.
      ctx.body = JSON.stringify(problem.code === 'internal' ? { ...problem.toJSON(), traceId: ctx.state.traceId } : problem)
    }
  }
}
