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
import { userContract } from './contract.ts'
import { type UserDependencies, userRoutes } from './routes.ts'
import { user } from './service.ts'

export interface UserAppOptions extends UserDependencies {
  verifiers: Verifiers
  loopDelay: LoopDelay
  /** Proxies in front whose X-Forwarded-For entry is believed. */
  trustedHops: number
}

/** The whole way of a request, top to bottom. */
export function createUserApp({ tracer, log, metrics }: Runtime, options: UserAppOptions): Koa {
  const app = new Koa()
  app.on('error', logStray(log))
  app.use(matchRoute(userContract))
  app.use(traceContext(tracer, log))
  app.use(measureRequests(metrics))
  app.use(accessLog(log))
  app.use(securityHeaders())
  app.use(problems(log))
  app.use(shed({ maxConcurrency: user.maxConcurrency }, options.loopDelay, metrics))
  app.use(withDeadline(user.timeoutMs))
  app.use(clientAddress(options.trustedHops))
  app.use(limitBody())
  app.use(authenticate(userContract, options.verifiers))
  app.use(routes(userRoutes(options)))
  return app
}
