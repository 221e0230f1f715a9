import type { ServerHttp2Stream } from 'node:http2'
import type { Context } from 'koa'
import type { RpcMethod } from '../../grpc/operations.ts'
import type { CodeName } from '../../grpc/status.ts'

/** How a call is answered: with a message, or with a code that says why there is none. */
export interface Reply {
  code: CodeName
  message?: Uint8Array
  /** For people, and what goes with it as `grpc-status-details-bin`. */
  detail?: string
  details?: string
  headers?: Record<string, string>
}

/** One call on its way through the stages. */
export interface Call {
  /** undefined: there is no such method. */
  method?: RpcMethod
  bytes?: Buffer
  reply?: Reply
}

/** The call of a request; made with its first stage. */
export const callOf = (ctx: Context): Call => {
  ctx.state.call ??= {}
  return ctx.state.call
}

export const streamOf = (ctx: Context): ServerHttp2Stream => (ctx.req as unknown as { stream: ServerHttp2Stream }).stream
