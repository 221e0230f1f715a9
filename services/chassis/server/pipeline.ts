import Koa, { type Middleware } from 'koa'
import type { Contract } from '../contract/contract.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import type { Verifiers } from '../identity/auth.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { accessLog } from './access-log.ts'
import { authenticate } from './authenticate.ts'
import { type BodyLimits, closeUnread, receiveBody } from './body.ts'
import { withCancellation } from './cancel.ts'
import { clientAddress } from './client-address.ts'
import { httpConvention } from './convention.ts'
import { callerDeadline, withDeadline } from './deadline.ts'
import { measureRequests } from './measure.ts'
import { logStray, problems } from './problem.ts'
import { matchRoute } from './router.ts'
import { type Handlers, routes } from './routes.ts'
import { securityHeaders } from './security-headers.ts'
import { type ShedLimits, shed } from './shed.ts'
import { type IngressTraces, traceContext } from './trace.ts'

/** Whose word counts for what a request says of itself; see docs/trust.md. */
export interface Trust {
  /** Proxies in front whose X-Forwarded-For entries are believed. */
  trustedHops: number
  /** Whether a request that no workload sends continues the trace that it names (the ingress began it), or only links it. @default 'link' */
  ingressTraces?: IngressTraces
  /** Whose deadline counts. @default 'workloads' */
  deadlinesOf?: 'workloads' | 'everybody'
}

export interface PipelineOptions<C extends Contract> extends Trust {
  service: Pick<ServiceDefinition, 'timeoutMs' | 'maxConcurrency'> & { contract: C }
  handlers: NoInfer<Handlers<C>>
  verifiers?: Verifiers
  body?: BodyLimits
  shedding?: Partial<ShedLimits>
  /** One for all apps of a service. @default its own, by maxConcurrency and `shedding` */
  shed?: Middleware
}

/** The whole way of a request, top to bottom, by the names of its stages. */
export const pipeline = <C extends Contract>({ tracer, log, metrics }: Runtime, options: PipelineOptions<C>) => {
  const { service, handlers, verifiers = {}, trustedHops, ingressTraces, deadlinesOf, body, shedding } = options
  const { contract, timeoutMs, maxConcurrency } = service
  const convention = httpConvention(metrics)
  return {
    closeUnread: closeUnread(),
    matchRoute: matchRoute(contract),
    traceContext: traceContext(tracer, log, convention, ingressTraces),
    measureRequests: measureRequests(metrics, convention),
    accessLog: accessLog(log, convention),
    securityHeaders: securityHeaders(),
    problems: problems(log),
    clientAddress: clientAddress(trustedHops),
    withDeadline: withDeadline(timeoutMs),
    // What a user asked for is done, whether or not the browser is still there.
    withCancellation: withCancellation(ctx => ctx.state.match.operation?.auth === 'workload'),
    receiveBody: receiveBody(metrics, body),
    shed: options.shed ?? shed({ maxConcurrency, ...shedding }, metrics),
    authenticate: authenticate(contract, verifiers),
    callerDeadline: callerDeadline(timeoutMs, deadlinesOf),
    routes: routes(handlers),
  } satisfies Record<string, Middleware>
}

export function createApp<C extends Contract>(runtime: Runtime, options: PipelineOptions<C>): Koa {
  const app = new Koa()
  app.on('error', logStray(runtime.log))
  for (const stage of Object.values(pipeline(runtime, options))) app.use(stage)
  return app
}
