import type { Context, Middleware } from 'koa'
import { createCancellation } from '../contract/scope.ts'

/**
 * Tells a request's work when its caller has hung up or, by gRPC, has reset the stream.
 * @param applies @default to every request
 */
export function withCancellation(applies: (ctx: Context) => boolean = () => true): Middleware {
  return async (ctx, next) => {
    if (!applies(ctx)) return next()
    const { cancellation, cancel } = createCancellation()
    ctx.state.scope.cancellation = cancellation
    // Nothing is written before the stages are done: who closes now has no answer.
    ctx.res.once('close', cancel)
    try {
      await next()
    } finally {
      ctx.res.off('close', cancel)
    }
  }
}
