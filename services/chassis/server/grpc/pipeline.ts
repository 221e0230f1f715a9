import Koa, { type Middleware } from 'koa'
import type { Contract } from '../../contract/contract.ts'
import type { ServiceDefinition } from '../../contract/graph.ts'
import { MAX_ARRIVING_BODIES } from '../../contract/limits.ts'
import { rpcOf } from '../../grpc/operations.ts'
import { TIMEOUT_HEADER } from '../../grpc/timeout.ts'
import type { Runtime } from '../../telemetry/runtime.ts'
import { accessLog } from '../access-log.ts'
import { authenticate } from '../authenticate.ts'
import { receiveBody } from '../body.ts'
import { withCancellation } from '../cancel.ts'
import { clientAddress } from '../client-address.ts'
import { callerDeadline, withDeadline } from '../deadline.ts'
import type { Health } from '../health.ts'
import { measureRequests } from '../measure.ts'
import type { PipelineOptions } from '../pipeline.ts'
import { logStray } from '../problem.ts'
import { traceContext } from '../trace.ts'
import { grpcConvention } from './convention.ts'
import { grpcHealth } from './health.ts'
import { MESSAGE, matchMethod, methods, timeoutBudgetMs } from './methods.ts'
import { reflection } from './reflection.ts'
import { writeReply } from './reply.ts'
import { statuses } from './statuses.ts'

export interface GrpcPipelineOptions<C extends Contract> extends Omit<PipelineOptions<C>, 'service' | 'trustedHops' | 'ingressTraces' | 'shedding'> {
  service: Pick<ServiceDefinition, 'name' | 'timeoutMs' | 'grpc'> & { contract: C }
  /** HTTP's own: a service has one limit, however it is called. */
  shed: Middleware
  /** Of the process, for the standard health service. */
  health: Pick<Health, 'failing'>
}

/** A pod of a caller sends all its calls over one connection: a source may have half of all. */
const ARRIVING = { total: MAX_ARRIVING_BODIES, perSource: MAX_ARRIVING_BODIES / 2 }

/** The whole way of a call, top to bottom: HTTP's stages, with those of gRPC where it differs. */
const grpcPipeline = <C extends Contract>({ tracer, log, metrics }: Runtime, options: GrpcPipelineOptions<C>) => {
  const { service, handlers, verifiers = {}, deadlinesOf, body, shed, health } = options
  const rpc = rpcOf(service)
  const convention = grpcConvention(metrics)
  return {
    writeReply: writeReply(),
    // No proxy is in front of this port, and no ingress that began a trace.
    clientAddress: clientAddress(0),
    health: grpcHealth(health, [rpc.schema.service.typeName]),
    reflection: reflection(rpc),
    matchMethod: matchMethod(service.contract, rpc),
    traceContext: traceContext(tracer, log, convention, 'link'),
    measureRequests: measureRequests(metrics, convention),
    accessLog: accessLog(log, convention),
    statuses: statuses(log, service.name),
    withDeadline: withDeadline(service.timeoutMs),
    withCancellation: withCancellation(),
    receiveMessage: receiveBody(metrics, { arriving: ARRIVING, ...body }, MESSAGE),
    shed,
    authenticate: authenticate(service.contract, verifiers),
    callerDeadline: callerDeadline(service.timeoutMs, deadlinesOf, TIMEOUT_HEADER, timeoutBudgetMs),
    methods: methods(handlers, metrics),
  } satisfies Record<string, Middleware>
}

export function createGrpcApp<C extends Contract>(runtime: Runtime, options: GrpcPipelineOptions<C>): Koa {
  const app = new Koa()
  app.on('error', logStray(runtime.log))
  for (const stage of Object.values(grpcPipeline(runtime, options))) app.use(stage)
  return app
}
