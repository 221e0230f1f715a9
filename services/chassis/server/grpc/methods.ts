import type { Middleware } from 'koa'
import { type Contract, parsePart } from '../../contract/contract.ts'
import { invalidRequest } from '../../contract/failure.ts'
import { framedBytes, unframe } from '../../grpc/frame.ts'
import type { Rpc } from '../../grpc/operations.ts'
import { parseTimeout, TIMEOUT_HEADER } from '../../grpc/timeout.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { Wanted } from '../body.ts'
import { ProblemError } from '../problem.ts'
import { type Handlers, handle } from '../routes.ts'
import { callOf } from './call.ts'

/** Finds the method early, so that metrics, spans and logs know it whatever becomes of the call. */
export function matchMethod(contract: Contract, { methods }: Rpc): Middleware {
  const byPath = new Map(methods.map(method => [`/${method.name}`, method]))
  return (ctx, next) => {
    const method = byPath.get(ctx.req.url ?? '')
    if (method) callOf(ctx).method = method
    ctx.state.match = { params: {}, allow: [], ...(method && { operationId: method.operationId, operation: contract[method.operationId] }) }
    return next()
  }
}

/** The framed message of a call. */
export const MESSAGE: Wanted = {
  limit: (ctx, maxBytes) => framedBytes(ctx.state.match.operation?.maxBodyBytes ?? maxBytes),
  any: ctx => callOf(ctx).method !== undefined,
  take: (ctx, bytes) => {
    callOf(ctx).bytes = bytes
  },
}

/**
 * Milliseconds that the caller still waits, at most `maxMs`.
 * @throws Failure `invalid-request` for a header that is no timeout
 */
export function timeoutBudgetMs(header: string | undefined, maxMs: number): number {
  if (header === undefined) return maxMs
  const ms = parseTimeout(header)
  if (ms === undefined)
    throw invalidRequest([{ field: TIMEOUT_HEADER, message: 'is not a positive number of at most 8 digits and one of H, M, S, m, u and n' }])
  return Math.min(ms, maxMs)
}

/** The last stage: reads the message, calls the handler, writes its answer as a message. */
export function methods<C extends Contract>(handlers: Handlers<C>, metrics: Metrics): Middleware {
  const unknown = metrics.counter(
    'rpc_server_unknown_fields_total',
    'Fields of messages that this version does not know, which are ignored',
    ['rpc_method'],
    [],
  )
  return async ctx => {
    const call = callOf(ctx)
    const { method, bytes } = call
    if (!method || !bytes) throw new ProblemError(405, 'not-found', 'This service has no such method')
    const framed = unframe(bytes)
    if ('problem' in framed) throw framed.problem === 'compressed' ? compressed() : notOneMessage()
    const { parts, unknownFields } = method.readRequest(framed.message)
    if (unknownFields > 0) unknown.inc({ rpc_method: method.name }, unknownFields)
    const query = ctx.state.match.operation.query
    const answer = await handle(ctx, handlers, {
      params: parts.params,
      query: () => query && parsePart('query', query, parts.query),
      body: () => parts.body,
    })
    call.reply = { code: 'OK', message: method.writeAnswer(answer) }
  }
}

const compressed = () => new ProblemError(405, 'compression-unsupported', 'Messages are taken uncompressed only: send grpc-encoding: identity')
const notOneMessage = () => new ProblemError(400, 'invalid-request', 'A call carries exactly one message, of the length that its prefix says')
