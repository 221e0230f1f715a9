import Koa from 'koa'
import { accessLog } from '../chassis/access-log.ts'
import { authenticate, type Verifiers } from '../chassis/auth.ts'
import { limitBody } from '../chassis/body.ts'
import { clientAddress } from '../chassis/client-address.ts'
import { withDeadline } from '../chassis/deadline.ts'
import { measureRequests } from '../chassis/metrics.ts'
import { logStray, problems } from '../chassis/problem.ts'
import { matchRoute } from '../chassis/router.ts'
import { routes } from '../chassis/routes.ts'
import type { Runtime } from '../chassis/runtime.ts'
import { securityHeaders } from '../chassis/security-headers.ts'
import { type LoopDelay, shed } from '../chassis/shed.ts'
import { traceContext } from '../chassis/tracing.ts'
import { orderContract } from './contract.ts'
import { type OrderDependencies, orderRoutes } from './routes.ts'
import { order } from './service.ts'

export interface OrderAppOptions extends OrderDependencies {
  verifiers: Verifiers
  loopDelay: LoopDelay
  /** Proxies in front whose X-Forwarded-For entry is believed. */
  trustedHops: number
}

/** The whole way of a request, top to bottom. */
export function createOrderApp({ tracer, log, metrics }: Runtime, options: OrderAppOptions): Koa {
  const app = new Koa()
  app.on('error', logStray(log))
  app.use(matchRoute(orderContract))
  app.use(traceContext(tracer, log))
  app.use(measureRequests(metrics))
  app.use(accessLog(log))
  app.use(securityHeaders())
  app.use(problems(log))
  app.use(shed({ maxConcurrency: order.maxConcurrency }, options.loopDelay, metrics))
  app.use(withDeadline(order.timeoutMs))
  app.use(clientAddress(options.trustedHops))
  app.use(limitBody())
  app.use(authenticate(orderContract, options.verifiers))
  app.use(routes(orderRoutes(options)))
  return app
}
