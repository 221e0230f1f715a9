import { setTimeout as sleep } from 'node:timers/promises'
import type { Tracer } from '@opentelemetry/api'
import { backoffMs } from '../contract/backoff.ts'
import { CallError } from '../contract/call-error.ts'
import { type Contract, isIdempotent, type Operation, type Outgoing, type Received } from '../contract/contract.ts'
import { type Callee, type CalleeName, DEFAULT_MAX_ATTEMPTS, edgeTo, portOf, type ServiceDefinition } from '../contract/graph.ts'
import type { Scope } from '../contract/scope.ts'
import { RETRY_BACKOFF } from '../contract/timing.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { isWorthRetrying, type RawAnswer, received, undefinedAnswer } from './answers.ts'
import { createAttempts } from './attempt.ts'
import type { Registry } from './callee.ts'
import type { BreakerOptions } from './circuit.ts'
import { createGrpc } from './grpc.ts'
import { createHttp } from './http.ts'
import type { Lookup } from './lookup.ts'
import { createRetryBudget } from './retry-budget.ts'

export type CallOptions<O extends Operation> = Outgoing<O> & {
  /** Access token of a user, where the operation wants one. */
  token?: string
  /** Time left aside for the caller's own work after the call, in milliseconds. @default 20 */
  marginMs?: number
}

export interface Client<C extends Contract> {
  /**
   * Calls one operation of the callee.
   * @throws CallError when there was no answer that the contract knows, after the retries that edge, budget and deadline allow
   */
  call<K extends keyof C & string>(scope: Scope, operation: K, options: CallOptions<C[K]>): Promise<Received<C[K]>>
  close(): Promise<void>
}

export interface ClientOptions {
  tracer: Tracer
  metrics: Metrics
  log: Logger
  /** `host`, `host:port` or `srv:name` @default the callee's headless Service and its port for the edge's protocol */
  host?: string
  registry?: Registry
  /** Our own token for the callee, sent with operations that want a workload's. */
  workloadToken?: () => string
  lookup?: Lookup
  breaker?: Partial<BreakerOptions>
  random?: () => number
}

/** A client for one of the service's edges. Without the edge in the service's definition this does not compile. */
export function createClient<D extends ServiceDefinition, const N extends CalleeName<D>>(
  service: D,
  callee: N,
  { tracer, metrics, log, host, registry, workloadToken, lookup, breaker = {}, random }: ClientOptions,
): Client<Callee<D, N>['contract']> {
  const edge = edgeTo(service, callee)
  const whereabouts = {
    callee: edge.to,
    port: { name: edge.protocol ?? 'http', number: portOf(edge) },
    metrics,
    log,
    ...(host && { host }),
    ...(registry && { registry }),
    ...(lookup && { lookup }),
  }
  const transport = edge.protocol === 'grpc' ? createGrpc(whereabouts) : createHttp(whereabouts)
  const attempt = createAttempts({ tracer, metrics, callee, transport, breaker, random })
  const budget = createRetryBudget()
  const retries = metrics.counter('http_client_retries_total', 'Attempts after the first', ['peer_service'], [{ peer_service: callee }])

  return {
    close: transport.close,
    call: async (scope, name, options) => {
      const operation = edge.to.contract[name] as Operation
      const withToken = operation.auth === 'workload' && workloadToken ? { ...options, token: workloadToken() } : options
      const outgoing = transport.prepare(name, operation, withToken)
      const maxAttempts = isIdempotent(operation) ? (edge.maxAttempts ?? DEFAULT_MAX_ATTEMPTS) : 1
      const leftMs = () => scope.deadline.remainingMs() - (options.marginMs ?? 20)
      budget.deposit()
      for (let n = 1; ; n++) {
        const timeoutMs = Math.min(edge.attemptTimeoutMs, leftMs())
        if (timeoutMs <= 0) throw new CallError('deadline-exceeded', `no time is left to call ${callee}`)
        const result = await attempt({ scope, name, outgoing, timeoutMs, resends: n - 1 }).catch((error: CallError) => error)
        const failure = result instanceof CallError ? result : undefinedAnswer(result, operation, name, callee)
        if (!failure) return received(result as RawAnswer) as never
        const waitMs = backoffMs(n - 1, { ...RETRY_BACKOFF, ...(random && { random }) })
        if (n >= maxAttempts || !isWorthRetrying(failure, result) || leftMs() <= waitMs || !budget.withdraw()) throw failure
        retries.inc({ peer_service: callee })
        await pause(waitMs, scope.deadline.signal)
      }
    },
  }
}

const pause = (ms: number, signal: AbortSignal) =>
  sleep(ms, undefined, { signal }).catch(() => {
    throw signal.reason
  })
