import type { Contract } from '../contract/contract.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import { createApp } from '../server/pipeline.ts'
import type { Handlers } from '../server/routes.ts'
import { listen } from './listen.ts'
import { quietRuntime } from './runtime.ts'
import { testVerifiers } from './tokens.ts'

/** A service that answers what a test says, in place of the real one. */
export interface StandIn<D extends ServiceDefinition> {
  readonly service: D
  /** Starts it. @returns its `host:port`, and what stops it */
  start(): Promise<{ host: string; close(): Promise<void> }>
}

/**
 * Stands in for a service behind the pipeline that every service has: requests that its contract refuses are refused here too.
 * An operation without a handler answers 500, and says so on standard error.
 */
export const standIn = <D extends ServiceDefinition>(service: D, handlers: NoInfer<Partial<Handlers<D['contract']>>>): StandIn<D> => ({
  service,
  start: () =>
    listen(
      createApp(quietRuntime(service.name), {
        service,
        handlers: complete(service, handlers),
        verifiers: testVerifiers,
        loopDelay: { currentMs: () => 0, close: () => {} },
        trustedHops: 0,
      }),
    ),
})

function complete(service: ServiceDefinition, handlers: Partial<Handlers<Contract>>): Handlers<Contract> {
  const missing = (name: string) => () => {
    throw new Error(`the stand-in of ${service.name} has no ${name}: give standIn() a handler for it`)
  }
  return Object.fromEntries(Object.keys(service.contract).map(name => [name, handlers[name] ?? missing(name)]))
}
