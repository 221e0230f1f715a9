// The order service with one stage of its pipeline left out (environment variable WITHOUT), a process of its own; a stage that others
// build upon is replaced by the least that they need.
import { TraceFlags, trace } from '@opentelemetry/api'
import Koa, { type Middleware } from 'koa'
import type { Database } from '../../services/chassis/data/database.ts'
import { startProcess } from '../../services/chassis/run/process.ts'
import type { Resources } from '../../services/chassis/run/wire.ts'
import { createHealth } from '../../services/chassis/server/health.ts'
import { pipeline } from '../../services/chassis/server/pipeline.ts'
import type { Runtime } from '../../services/chassis/telemetry/runtime.ts'
import { orderContract } from '../../services/order/contract.ts'
import { toProduct } from '../../services/order/products.ts'
import { orderRoutes } from '../../services/order/routes.ts'
import { order } from '../../services/order/service.ts'
import { createOrderStore, type OrderStore } from '../../services/order/store.ts'

/** In the order in which a request passes them. */
export const STAGES = [
  'closeUnread',
  'matchRoute',
  'traceContext',
  'measureRequests',
  'accessLog',
  'securityHeaders',
  'problems',
  'clientAddress',
  'withDeadline',
  'withCancellation',
  'receiveBody',
  'shed',
  'authenticate',
  'callerDeadline',
  'routes',
] as const satisfies (keyof ReturnType<typeof pipeline>)[]

/** A parent below which nothing is recorded. */
const NOT_SAMPLED = { traceId: '1'.padStart(32, '0'), spanId: '1'.padStart(16, '0'), traceFlags: TraceFlags.NONE }
const NOBODY_WAITS = {
  signal: new AbortController().signal,
  remainingMs: () => Number.POSITIVE_INFINITY,
  tighten: () => {},
  clear: () => {},
}

/** Of what no product needs. */
const NOT_CALLED = undefined as never

/** All stages, but what stands in for the one that is left out. */
function stages(runtime: Runtime, store: OrderStore, without: string | undefined): Middleware[] {
  const full = pipeline(runtime, {
    service: order,
    handlers: orderRoutes({ store, saga: NOT_CALLED, outbox: NOT_CALLED }),
    verifiers: { user: async () => ({ kind: 'user', id: '' }) },
    trustedHops: 0,
  })
  const least: Record<string, Middleware> = {
    matchRoute: (ctx, next) => {
      ctx.state.match = { operationId: 'getProduct', operation: orderContract.getProduct, params: { sku: ctx.path.slice(10) }, allow: [] }
      return next()
    },
    traceContext: (ctx, next) => {
      ctx.state.traceId = NOT_SAMPLED.traceId
      ctx.state.scope = { deadline: NOBODY_WAITS, span: trace.wrapSpanContext(NOT_SAMPLED), log: runtime.log }
      return next()
    },
    clientAddress: (ctx, next) => {
      ctx.state.address = () => ''
      return next()
    },
    routes: async ctx => {
      const row = await store.product(ctx.state.scope, ctx.state.match.params.sku)
      if (row) ctx.body = toProduct(row)
    },
  }
  return STAGES.flatMap(name => (name === without ? (least[name] ?? []) : full[name]))
}

if (import.meta.main) {
  await startProcess({
    service: order,
    migrations: new URL('../../services/order/migrations/', import.meta.url),
    env: process.env,
    argv: process.argv,
    wire: async ({ runtime, database }: Resources) => {
      const app = new Koa()
      for (const stage of stages(runtime, createOrderStore(database as Database, NOT_CALLED), process.env.WITHOUT)) app.use(stage)
      return { app, health: createHealth({}) }
    },
  })
}
