import type { Middleware } from 'koa'
import type { Logger } from 'pino'
import type { FieldProblem } from '../../contract/failure.ts'
import { writeDetails } from '../../grpc/error-details.ts'
import { fieldName, reasonOf } from '../../grpc/names.ts'
import { codeOfStatus } from '../../grpc/status.ts'
import { noteProblem, type ProblemError } from '../problem.ts'
import { callOf, type Reply } from './call.ts'

/** Whatever was thrown, as a status. @param domain of google.rpc.ErrorInfo: the service */
export function statuses(log: Logger, domain: string): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      callOf(ctx).reply = replyOf(noteProblem(ctx, log, error), domain, ctx.state.traceId)
    }
  }
}

function replyOf(problem: ProblemError, domain: string, traceId: string): Reply {
  const code = codeOfStatus(problem.status)
  const { errors, ...extra } = problem.extra
  const retryAfter = problem.headers['retry-after']
  const detail = cut(problem.message, DETAIL_BYTES)
  const details = writeDetails(code, detail, {
    reason: reasonOf(problem.code),
    domain,
    metadata: {
      // Several statuses share one code.
      status: String(problem.status),
      ...Object.fromEntries(Object.entries(extra).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)])),
      // What to look for in the log, of a failure that tells nothing else.
      ...(problem.code === 'internal' && { traceId }),
    },
    ...(Array.isArray(errors) && { fields: within(FIELDS_BYTES, (errors as FieldProblem[]).map(inMessage)) }),
    ...(retryAfter !== undefined && { retryAfterSeconds: Number(retryAfter) }),
  })
  return { code, detail, details }
}

/** Clients of gRPC's core take 8 KiB of metadata; a status is in it twice, percent-encoded and as base64. */
const DETAIL_BYTES = 1_000
const FIELDS_BYTES = 2_000
/** Of one field, which may be a key of the caller's own. */
const FIELD_BYTES = 200

const cut = (text: string, bytes: number): string => new TextDecoder().decode(Buffer.from(text).subarray(0, bytes), { stream: true })

function within(bytes: number, fields: readonly FieldProblem[]): FieldProblem[] {
  const told: FieldProblem[] = []
  let left = bytes
  for (const { field, message } of fields) {
    const one = { field: cut(field, FIELD_BYTES), message: cut(message, FIELD_BYTES) }
    left -= Buffer.byteLength(one.field) + Buffer.byteLength(one.message)
    if (left < 0) break
    told.push(one)
  }
  return told
}

/** `path.orderId` of the contract is `order_id` of the message. */
const inMessage = ({ field, message }: FieldProblem): FieldProblem => ({
  field: field
    .replace(/^(path|query|body)\./, '')
    .split('.')
    .map(part => fieldName(part))
    .join('.'),
  message,
})
