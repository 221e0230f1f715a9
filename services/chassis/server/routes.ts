import type { Context, Middleware } from 'koa'
import { type Answer, type Contract, type Input, type Operation, parsePart } from '../contract/contract.ts'
import { invalidRequest } from '../contract/failure.ts'
import { requireKey } from '../contract/idempotency-key.ts'
import type { Scope } from '../contract/scope.ts'
import type { Principal } from '../identity/auth.ts'
import { ProblemError } from './problem.ts'
import type { Match } from './router.ts'

export interface Call<O extends Operation> extends Input<O> {
  scope: Scope
  /** Who calls; only operations with `auth: 'none'` have none. */
  principal: O['auth'] extends 'none' ? undefined : Principal
  /** Address of the caller, as far as the trusted proxies tell it. */
  address: () => string
  ifNoneMatch?: string
}

export type Handler<O extends Operation> = (call: Call<O>) => Answer<O> | Promise<Answer<O>>

/** One handler for each operation of the contract: a missing or extra one does not compile. */
export type Handlers<C extends Contract> = { [K in keyof C]: Handler<C[K]> }

/** The last stage: validates the request's parts, calls the handler, writes its answer. */
export function routes<C extends Contract>(handlers: Handlers<C>): Middleware {
  return async ctx => {
    const match: Match = ctx.state.match
    const { operationId, operation, params } = match
    if (!operation || !operationId) throw noRoute(ctx.method, match)
    const answer = await handle(ctx, handlers, { params, query: () => parseQuery(operation, ctx.query), body: () => ctx.state.json() })
    ctx.status = answer.status
    if (answer.headers) ctx.set(answer.headers)
    if (answer.body === undefined) ctx.body = null
    else {
      ctx.type = 'application/json'
      ctx.body = JSON.stringify(answer.body)
    }
    // Koa turns a null body into 204.
    ctx.status = answer.status
  }
}

/** The parts of a request that came, each as the transport has it. */
export interface Came {
  params: unknown
  query: () => unknown
  body: () => unknown
}

/**
 * Validates the parts of a request in their order and calls the handler of its operation.
 * @throws Failure `invalid-request` naming the wrong fields of the first part that has some
 */
export async function handle<C extends Contract>(
  ctx: Context,
  handlers: Handlers<C>,
  { params, query, body }: Came,
): Promise<{ status: number; body?: unknown; headers?: Record<string, string> }> {
  const { operationId, operation } = ctx.state.match as Required<Pick<Match, 'operationId' | 'operation'>>
  const call = {
    params: operation.params && parsePart('path', operation.params, params),
    query: query(),
    idempotencyKey: operation.idempotencyKey && requireKey(ctx.get('idempotency-key')),
    body: operation.body && parsePart('body', operation.body, body()),
    scope: ctx.state.scope,
    principal: ctx.state.principal,
    address: ctx.state.address,
    ifNoneMatch: ctx.get('if-none-match') || undefined,
  }
  // The operation is found by name at run time, so the compiler cannot join it with its handler here.
  const answer = await handlers[operationId as keyof C]?.(call as never)
  if (!answer) throw new Error(`the handler of ${operationId} returned nothing: it returns { status, body }`)
  return answer as { status: number }
}

function noRoute(method: string, { allow, malformed }: Match): ProblemError {
  if (malformed) return new ProblemError(400, 'malformed-request', 'The target of this request is neither a path nor a URL')
  if (allow.length === 0) return new ProblemError(404, 'not-found', 'There is nothing at this path')
  const list = allow.join(', ')
  return new ProblemError(405, 'method-not-allowed', `${method} is not one of this path's methods: ${list}`, { headers: { allow: list } })
}

function parseQuery(operation: Operation, query: Record<string, unknown>): unknown {
  if (operation.query) return parsePart('query', operation.query, { ...query })
  const unknown = Object.keys(query)
  if (unknown.length === 0) return undefined
  throw invalidRequest(unknown.map(key => ({ field: `query.${key.slice(0, 100)}`, message: 'is not a known field' })))
}
