import { CircuitState, circuitBreaker, handleWhen, SamplingBreaker } from 'cockatiel'
import type { Metrics } from '../telemetry/metrics.ts'
import { isOverloaded, type RawAnswer } from './answers.ts'

export interface BreakerOptions {
  /** Share of failed attempts, over `windowMs`, at which the circuit opens. @default 0.8 */
  threshold: number
  /** @default 5000 */
  windowMs: number
  /** Attempts a second below which it never opens. @default 1 */
  minimumRps: number
  /** Time after which one attempt is let through again. @default 1000 */
  halfOpenAfterMs: number
}

/**
 * A circuit breaker for the calls to one service, with its state as a metric. An answer counts as failed from status 500 on, unless it says that
 * there is too much: then others may still be answered, and the callee is throttled instead (throttle.ts). */
export function createCircuit(metrics: Metrics, callee: string, options: Partial<BreakerOptions>) {
  const { threshold = 0.8, windowMs = 5_000, minimumRps = 1, halfOpenAfterMs = 1_000 } = options
  // A call that was taken back says nothing of the callee.
  const isFailure = (answer: unknown) =>
    answer instanceof Error ? answer.name !== 'Cancelled' : (answer as RawAnswer).status >= 500 && !isOverloaded(answer as RawAnswer)
  const policy = handleWhen(isFailure).orWhenResult(isFailure)
  const circuit = circuitBreaker(policy, {
    halfOpenAfter: halfOpenAfterMs,
    breaker: new SamplingBreaker({ threshold, duration: windowMs, minimumRps }),
  })
  const state = metrics.gauge('http_client_circuit_state', 'Circuit breaker: 0 closed, 1 half open, 2 open', ['peer_service'])
  const levels = { [CircuitState.Closed]: 0, [CircuitState.HalfOpen]: 1, [CircuitState.Open]: 2, [CircuitState.Isolated]: 2 }
  state.set({ peer_service: callee }, 0)
  circuit.onStateChange(now => state.set({ peer_service: callee }, levels[now]))
  return circuit
}
