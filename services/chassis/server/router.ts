import findMyWay from 'find-my-way'
import type { Context, Middleware } from 'koa'
import type { Contract, Operation } from '../contract/contract.ts'

/** What a request's method and path lead to. `allow` lists the methods that the path has; empty where there is no such path. */
export interface Match {
  operationId?: string
  operation?: Operation
  params: Record<string, string | undefined>
  allow: string[]
  /** The request's target is no path at all. */
  malformed?: true
}

/** Finds the operation of a contract for a request. HEAD is GET (RFC 9110 section 9.3.2). */
export function createRouter(contract: Contract): (method: string, path: string) => Match {
  const router = findMyWay({ maxParamLength: 500, onBadUrl: () => {} })
  const paths = new Map<string, string[]>()
  for (const [operationId, operation] of Object.entries(contract)) {
    const path = operation.path.replace(/\{(\w+)\}/g, ':$1')
    router.on(operation.method, path, () => {}, { operationId, operation })
    paths.set(path, [...(paths.get(path) ?? []), ...(operation.method === 'GET' ? ['GET', 'HEAD'] : [operation.method])])
  }
  const allowed = findMyWay({ maxParamLength: 500, onBadUrl: () => {} })
  for (const [path, methods] of paths) allowed.on('GET', path, () => {}, methods)

  return (method, path) => {
    const found = router.find((method === 'HEAD' ? 'GET' : method) as 'GET', path)
    if (found?.store) return { ...(found.store as { operationId: string; operation: Operation }), params: found.params, allow: [] }
    return { params: {}, allow: (allowed.find('GET', path)?.store as string[] | null | undefined) ?? [] }
  }
}

/** For a target that is no URL (`http://[/`) Koa's getter throws, and here no stage would answer for it. */
function pathOf(ctx: Context): string | undefined {
  try {
    return ctx.path
  } catch {
    return undefined
  }
}

/** Finds the operation early, so that metrics, spans and logs know the route template whatever becomes of the request. */
export function matchRoute(contract: Contract): Middleware {
  const match = createRouter(contract)
  return (ctx, next) => {
    const path = pathOf(ctx)
    ctx.state.match = path === undefined ? { params: {}, allow: [], malformed: true } : match(ctx.method, path)
    return next()
  }
}
