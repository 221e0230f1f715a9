import type { Contract } from '../contract/contract.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import { createGrpcApp } from '../server/grpc/pipeline.ts'
import { createHealth } from '../server/health.ts'
import { createApp } from '../server/pipeline.ts'
import type { Handlers } from '../server/routes.ts'
import { shed } from '../server/shed.ts'
import { listen, listenRpc } from './listen.ts'
import { quietRuntime } from './runtime.ts'
import { testVerifiers } from './tokens.ts'

/** A service that answers what a test says, in place of the real one. */
export interface StandIn<D extends ServiceDefinition> {
  readonly service: D
  /** Starts it, by HTTP unless its caller's edge says gRPC. @returns its `host:port`, and what stops it */
  start(protocol?: 'http' | 'grpc'): Promise<{ host: string; close(): Promise<void> }>
}

/**
 * Stands in for a service behind the pipeline that every service has: requests that its contract refuses are refused here too.
 * An operation without a handler answers 500, and says so on standard error.
 */
export const standIn = <D extends ServiceDefinition>(service: D, handlers: NoInfer<Partial<Handlers<D['contract']>>>): StandIn<D> => ({
  service,
  start: protocol => {
    const runtime = quietRuntime(service.name)
    const options = { service, handlers: complete(service, handlers), verifiers: testVerifiers, trustedHops: 0 }
    if (protocol !== 'grpc') return listen(createApp(runtime, options))
    const { maxConcurrency } = service
    return listenRpc(createGrpcApp(runtime, { ...options, health: createHealth({}), shed: shed({ maxConcurrency }, runtime.metrics) }), runtime)
  },
})

function complete(service: ServiceDefinition, handlers: Partial<Handlers<Contract>>): Handlers<Contract> {
  const missing = (name: string) => () => {
    throw new Error(`the stand-in of ${service.name} has no ${name}: give standIn() a handler for it`)
  }
  return Object.fromEntries(Object.keys(service.contract).map(name => [name, handlers[name] ?? missing(name)]))
}
