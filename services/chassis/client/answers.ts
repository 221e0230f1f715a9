import { CallError } from '../contract/call-error.ts'
import type { Operation, ProblemAnswer } from '../contract/contract.ts'

/** Bodies between services are small; a larger one is a defect. */
export const MAX_ANSWER_BYTES = 1_048_576

/** What came back, whatever it is. */
export interface RawAnswer {
  /** HTTP's; by gRPC the status that the contract has for such an answer. */
  status: number
  body: unknown
  /** By gRPC. */
  code?: string
}

const isProblem = (body: unknown): body is ProblemAnswer['problem'] => typeof (body as { code?: unknown } | undefined)?.code === 'string'

/** Declared answers, with their body, and the callee's own 4xx problems are answers; everything else is a failure. */
export function undefinedAnswer({ status, body }: RawAnswer, operation: Operation, name: string, callee: string): CallError | undefined {
  const declared = operation.responses[status]
  if (declared ? body !== undefined || !declared.body : status >= 400 && status < 500 && isProblem(body)) return undefined
  return new CallError(`status-${status}`, `${callee} answered ${name} with ${status}${isProblem(body) ? ` ${body.code}` : ''}`, { status })
}

export const received = ({ status, body }: RawAnswer) => (status >= 400 ? { status, problem: body } : { status, body })

/** Refused for there being too much work, with nothing done. */
export const isOverloaded = ({ status, body }: RawAnswer): boolean => status === 503 && isProblem(body) && body.code === 'overloaded'

/** Overload and an open circuit are left alone: a retry now would make them worse. */
export function isWorthRetrying(failure: CallError, result: RawAnswer | CallError): boolean {
  if (failure.code === 'unreachable' || failure.code === 'timeout') return true
  if (result instanceof CallError) return false
  return (result.status === 502 || result.status === 503 || result.status === 504) && !isOverloaded(result)
}
