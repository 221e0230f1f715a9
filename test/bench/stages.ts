// The order service with one stage of its pipeline left out (environment variable WITHOUT), a process of its own. The list is that
// of services/order/app.ts; a stage that others build upon is replaced by the least that they need.
import { TraceFlags, trace } from '@opentelemetry/api'
import Koa, { type Middleware } from 'koa'
import { accessLog } from '../../services/chassis/access-log.ts'
import { authenticate } from '../../services/chassis/auth.ts'
import { limitBody } from '../../services/chassis/body.ts'
import { clientAddress } from '../../services/chassis/client-address.ts'
import { withDeadline } from '../../services/chassis/deadline.ts'
import { measureRequests } from '../../services/chassis/metrics.ts'
import { problems } from '../../services/chassis/problem.ts'
import { matchRoute } from '../../services/chassis/router.ts'
import { routes } from '../../services/chassis/routes.ts'
import type { Runtime } from '../../services/chassis/runtime.ts'
import { securityHeaders } from '../../services/chassis/security-headers.ts'
import { type LoopDelay, shed } from '../../services/chassis/shed.ts'
import { startService } from '../../services/chassis/start.ts'
import { traceContext } from '../../services/chassis/tracing.ts'
import { orderContract } from '../../services/order/contract.ts'
import { orderRoutes } from '../../services/order/routes.ts'
import type { Saga } from '../../services/order/saga.ts'
import { order } from '../../services/order/service.ts'
import { createOrderStore, type OrderStore, toProduct } from '../../services/order/store.ts'

/** In the order in which a request passes them. */
export const STAGES = [
  'matchRoute',
  'traceContext',
  'measureRequests',
  'accessLog',
  'securityHeaders',
  'problems',
  'shed',
  'withDeadline',
  'clientAddress',
  'limitBody',
  'authenticate',
  'routes',
] as const

interface Stage {
  full: Middleware
  /** What stands in for it when it is left out. */
  least?: Middleware
}

/** A parent below which nothing is recorded. */
const NOT_SAMPLED = { traceId: '1'.padStart(32, '0'), spanId: '1'.padStart(16, '0'), traceFlags: TraceFlags.NONE }
const NOBODY_WAITS = { signal: new AbortController().signal, remainingMs: () => Number.POSITIVE_INFINITY, clear: () => {} }

function stages({ tracer, log, metrics }: Runtime, store: OrderStore, loopDelay: LoopDelay): Record<(typeof STAGES)[number], Stage> {
  const saga: Saga = { deliver: async () => ({ kind: 'done' }), attemptNow: async () => undefined }
  return {
    matchRoute: {
      full: matchRoute(orderContract),
      least: (ctx, next) => {
        ctx.state.match = { operationId: 'getProduct', operation: orderContract.getProduct, params: { sku: ctx.path.slice(10) }, allow: [] }
        return next()
      },
    },
    traceContext: {
      full: traceContext(tracer, log),
      least: (ctx, next) => {
        ctx.state.traceId = NOT_SAMPLED.traceId
        ctx.state.scope = { deadline: NOBODY_WAITS, span: trace.wrapSpanContext(NOT_SAMPLED), log }
        return next()
      },
    },
    measureRequests: { full: measureRequests(metrics) },
    accessLog: { full: accessLog(log) },
    securityHeaders: { full: securityHeaders() },
    problems: { full: problems(log) },
    shed: { full: shed({ maxConcurrency: order.maxConcurrency }, loopDelay, metrics) },
    withDeadline: { full: withDeadline(order.timeoutMs) },
    clientAddress: { full: clientAddress(0) },
    limitBody: { full: limitBody() },
    authenticate: { full: authenticate({}, {}) },
    routes: {
      full: routes(orderRoutes({ store, saga })),
      least: async ctx => {
        const row = await store.product(ctx.state.scope, ctx.state.match.params.sku)
        if (row) ctx.body = toProduct(row)
      },
    },
  }
}

if (import.meta.main) {
  await startService({
    service: order,
    config: {},
    migrations: new URL('../../services/order/migrations/', import.meta.url),
    env: process.env,
    argv: process.argv,
    wire: async ({ runtime, database, loopDelay }) => {
      const all = stages(runtime, createOrderStore(database), loopDelay)
      const app = new Koa()
      for (const name of STAGES) {
        const { full, least } = all[name]
        const used = name === process.env.WITHOUT ? least : full
        if (used) app.use(used)
      }
      return { app }
    },
  })
}
