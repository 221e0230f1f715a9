/** What kind of failure it is, whatever carries it: HTTP has a status for each (server/problem.ts). */
export type FailureKind =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'refused'
  | 'too-many'
  | 'internal'
  | 'unavailable'
  | 'deadline-exceeded'

export interface FailureOptions {
  /** Further members of what the caller is told, e.g. `{ orderId }`. Never secrets. */
  extra?: Record<string, unknown>
  /** When to try again. */
  retryAfterSeconds?: number
  /** Of an `unauthenticated` one: a token was sent, and is not good. */
  invalidToken?: true
  cause?: unknown
}

/** An error that a caller may see. `code` is stable and is what programs test; `detail` is for people. */
export class Failure extends Error {
  override name = 'Failure'
  readonly kind: FailureKind
  readonly code: string
  readonly options: FailureOptions

  constructor(kind: FailureKind, code: string, detail: string, options: FailureOptions = {}) {
    super(detail, { cause: options.cause })
    this.kind = kind
    this.code = code
    this.options = options
  }
}

/** One wrong place in a request, e.g. `{ field: 'body.email', message: 'is missing' }`. */
export interface FieldProblem {
  field: string
  message: string
}

/** How many wrong fields a caller is told of; more would only cost. */
export const MAX_PROBLEMS = 20

/** @param errors of which the first MAX_PROBLEMS are told */
export function invalidRequest(errors: readonly FieldProblem[]): Failure {
  const told = errors.slice(0, MAX_PROBLEMS)
  const detail = told.map(e => `${e.field} ${e.message}`).join('; ')
  return new Failure('invalid', 'invalid-request', detail.slice(0, 1_000), { extra: { errors: told } })
}

export const unavailable = (detail: string, cause?: unknown): Failure =>
  new Failure('unavailable', 'unavailable', detail, { cause, retryAfterSeconds: 1 })

/** Too much work under way for one more. */
export const overloaded = (): Failure =>
  new Failure('unavailable', 'overloaded', 'Too much work is under way; try again shortly', { retryAfterSeconds: 1 })

/** One source has used up its share (RFC 6585 section 4); other sources keep theirs. */
export const tooManyRequests = (detail: string): Failure => new Failure('too-many', 'too-many-requests', detail, { retryAfterSeconds: 1 })

export const deadlineExceeded = (cause?: unknown): Failure =>
  new Failure('deadline-exceeded', 'deadline-exceeded', 'The time for this request is spent; repeat it when it is idempotent', { cause })
