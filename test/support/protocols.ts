import { modelOf } from '@fairlead/chassis/grpc'
import { onTestFinished } from 'vitest'
import { assignNumbers } from '../../infra/kit/proto/numbers.ts'
import { type ClientOptions, createClient } from '../../services/chassis/client/client.ts'
import type { Contract } from '../../services/chassis/contract/contract.ts'
import { defineService, type ServiceDefinition } from '../../services/chassis/contract/graph.ts'
import type { Verifiers } from '../../services/chassis/identity/auth.ts'
import type { BodyLimits } from '../../services/chassis/server/body.ts'
import { listenGrpc } from '../../services/chassis/server/grpc/listen.ts'
import { createGrpcApp } from '../../services/chassis/server/grpc/pipeline.ts'
import { createHealth, type Health } from '../../services/chassis/server/health.ts'
import { createApp } from '../../services/chassis/server/pipeline.ts'
import type { Handlers } from '../../services/chassis/server/routes.ts'
import { serve } from '../../services/chassis/server/serve.ts'
import { type ShedLimits, shed } from '../../services/chassis/server/shed.ts'
import { type TestRuntime, testRuntime } from './runtime.ts'
import { small } from './small.ts'

export type Protocol = 'http' | 'grpc'
export const PROTOCOLS: readonly Protocol[] = ['http', 'grpc']

/** The service with numbers for its messages, as `fairlead proto` would give them the first time. */
export const withGrpc = <D extends Pick<ServiceDefinition, 'name' | 'contract'>>(service: D, port = 9_000) => ({
  ...service,
  grpc: { port, numbers: assignNumbers(modelOf(service)).numbers },
})

export interface PairOptions {
  timeoutMs?: number
  maxConcurrency?: number
  verifiers?: Verifiers
  shedding?: Partial<ShedLimits>
  edge?: { attemptTimeoutMs?: number; maxAttempts?: number }
  client?: Partial<ClientOptions>
  /** Where the callee listens, each with the same port. @default 127.0.0.1 alone */
  addresses?: readonly string[]
  handlersAt?: (address: string) => object
  health?: Health
  body?: BodyLimits
}

/** A callee of some operations and a client of it, with `protocol` between them and everything else the same. */
export async function startPair<const C extends Contract>(
  protocol: Protocol,
  contract: C,
  handlers: NoInfer<Handlers<C>>,
  {
    timeoutMs = 5_000,
    maxConcurrency = 100,
    verifiers,
    shedding,
    edge,
    client: clientOptions,
    addresses = ['127.0.0.1'],
    handlersAt = () => handlers,
    health = createHealth({}),
    body,
  }: PairOptions = {},
) {
  const callee = { runtime: testRuntime('callee') }
  const caller = { runtime: testRuntime('caller') }
  const service = withGrpc(defineService({ ...small, name: 'callee', port: 8080, contract, timeoutMs, maxConcurrency }))
  const instances: Instance[] = []
  let port = 0
  for (const address of addresses) {
    const options = {
      service,
      handlers: handlersAt(address) as never,
      ...(verifiers && { verifiers }),
      trustedHops: 0,
      health,
      ...(body && { body }),
      shed: shed({ maxConcurrency, maxPerSource: maxConcurrency, ...shedding }, callee.runtime.metrics),
    }
    const runtime = instances.length === 0 ? callee.runtime : testRuntime('callee')
    const instance = await INSTANCES[protocol](runtime, options, { port, address })
    onTestFinished(instance.close)
    port = instance.port
    instances.push(instance)
  }
  const from = defineService({
    ...small,
    name: 'caller',
    port: 8081,
    contract: {},
    timeoutMs: 10_000,
    calls: [{ to: service, mode: 'required', attemptTimeoutMs: 2_000, protocol, ...edge }],
  })
  const client = createClient(from as ServiceDefinition, 'callee' as never, {
    ...caller.runtime,
    host: `callee:${port}`,
    lookup: async () => [...addresses],
    breaker: { minimumRps: 1_000_000 },
    random: () => 0,
    ...clientOptions,
  }) as unknown as import('../../services/chassis/client/client.ts').Client<C>
  onTestFinished(client.close)
  return { callee, caller, client, port, service, instances }
}

export interface Instance {
  port: number
  /** As on SIGTERM. */
  drain(options: { lingerMs: number; finishMs: number }): Promise<void>
  close(): Promise<void>
}

type Start = (
  runtime: TestRuntime,
  options: Parameters<typeof createGrpcApp>[1] & Parameters<typeof createApp>[1] & { health: Health },
  at: { port: number; address: string },
) => Promise<Instance>

const INSTANCES: Record<Protocol, Start> = {
  http: async (runtime, options, { port, address }) => {
    const app = createApp(runtime, options)
    app.silent = true
    const { health } = options
    const running = await serve({ ...runtime, handler: app.callback(), host: address, port, adminPort: 0, health, lingerMs: 10, finishMs: 500 })
    return { port: running.port, drain: running.drain, close: running.drain }
  },
  grpc: async (runtime, options, { port, address }) => {
    const app = createGrpcApp(runtime, options)
    app.silent = true
    const server = await listenGrpc({ handler: app.callback(), port, host: address, ...runtime })
    let drained: Promise<void> | undefined
    const drain: Instance['drain'] = how => {
      drained ??= server.drain(how)
      return drained
    }
    return { port: server.port, drain, close: () => drain({ lingerMs: 0, finishMs: 100 }) }
  },
}
