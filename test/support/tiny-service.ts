import Koa from 'koa'
import { accessLog } from '../../services/chassis/access-log.ts'
import { type BodyLimits, limitBody } from '../../services/chassis/body.ts'
import { clientAddress } from '../../services/chassis/client-address.ts'
import type { Contract } from '../../services/chassis/contract.ts'
import { withDeadline } from '../../services/chassis/deadline.ts'
import { measureRequests } from '../../services/chassis/metrics.ts'
import { problems } from '../../services/chassis/problem.ts'
import { matchRoute } from '../../services/chassis/router.ts'
import { type Handlers, routes } from '../../services/chassis/routes.ts'
import { securityHeaders } from '../../services/chassis/security-headers.ts'
import { type LoopDelay, shed } from '../../services/chassis/shed.ts'
import { traceContext } from '../../services/chassis/tracing.ts'
import { type Http, httpTo, type Listening, listen } from './http.ts'
import { type TestRuntime, testRuntime } from './runtime.ts'

export interface TinyOptions {
  timeoutMs?: number
  maxConcurrency?: number
  trustedHops?: number
  body?: BodyLimits
  loopDelay?: LoopDelay
}

export interface TinyService extends Listening {
  http: Http
  runtime: TestRuntime
}

/** A service of a few routes without authentication, with the pipeline that every service has. */
export async function startTinyService<C extends Contract>(
  contract: C,
  handlers: NoInfer<Handlers<C>>,
  { timeoutMs = 5_000, maxConcurrency = 100, trustedHops = 0, body, loopDelay = { currentMs: () => 0, close: () => {} } }: TinyOptions = {},
): Promise<TinyService> {
  const runtime = testRuntime('tiny')
  const { tracer, log, metrics } = runtime
  const app = new Koa()
  app.silent = true
  app.use(matchRoute(contract))
  app.use(traceContext(tracer, log))
  app.use(measureRequests(metrics))
  app.use(accessLog(log))
  app.use(securityHeaders())
  app.use(problems(log))
  app.use(shed({ maxConcurrency }, loopDelay, metrics))
  app.use(withDeadline(timeoutMs))
  app.use(clientAddress(trustedHops))
  app.use(limitBody(body))
  app.use(routes(handlers))
  const listening = await listen(app)
  return { ...listening, runtime, http: httpTo(listening.url, contract) }
}
