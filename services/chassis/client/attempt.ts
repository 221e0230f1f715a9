import { type Span, SpanKind, type Tracer } from '@opentelemetry/api'
import { BrokenCircuitError } from 'cockatiel'
import { CallError } from '../contract/call-error.ts'
import { createDeadline, type Deadline } from '../contract/deadline.ts'
import { type Scope, scopeWith } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { childSpan, failSpan } from '../telemetry/tracing.ts'
import { isOverloaded, type RawAnswer } from './answers.ts'
import { type BreakerOptions, createCircuit } from './circuit.ts'
import { createThrottle } from './throttle.ts'
import type { Outgoing, Transport } from './transport.ts'

export interface Attempt {
  scope: Scope
  /** The operation's name in the contract. */
  name: string
  outgoing: Outgoing
  timeoutMs: number
  /** How many attempts of the same call went before. */
  resends: number
}

export interface AttemptsOptions {
  tracer: Tracer
  metrics: Metrics
  callee: string
  transport: Transport
  breaker: Partial<BreakerOptions>
  random?: (() => number) | undefined
}

/**
 * Makes single attempts, each with a span, a metric and a time limit of its own, as long as the circuit is closed.
 * @throws CallError when nothing came back
 */
export function createAttempts({ tracer, metrics, callee, transport, breaker, random }: AttemptsOptions): (attempt: Attempt) => Promise<RawAnswer> {
  const circuit = createCircuit(metrics, callee, breaker)
  const throttle = createThrottle(random)
  const throttled = metrics.counter(
    'http_client_throttled_total',
    'Calls that were not made, for the callee refuses most',
    ['peer_service'],
    [{ peer_service: callee }],
  )

  const spanOf = ({ scope, outgoing: { spanName, attributes }, resends }: Attempt) =>
    childSpan(tracer, scope.span, spanName, {
      kind: SpanKind.CLIENT,
      attributes: { ...attributes, 'peer.service': callee, ...(resends > 0 && { 'http.request.resend_count': resends }) },
    })

  const observe = (span: Span, labels: Record<string, string | number>, startedAt: number, errorType: string) => {
    const seconds = (performance.now() - startedAt) / 1_000
    transport.duration.observe({
      labels: { peer_service: callee, ...labels, error_type: errorType },
      value: seconds,
      exemplarLabels: metrics.exemplar(span, seconds, errorType !== '') ?? {},
    } as never)
  }

  return async attempt => {
    const { scope, name, outgoing } = attempt
    const span = spanOf(attempt)
    const startedAt = performance.now()
    // It ends with the request that it is made for: its caller's callees need not work either.
    const deadline = createDeadline(attempt.timeoutMs, startedAt, scope.cancellation?.signal)
    try {
      if (!throttle.allow()) {
        throttled.inc({ peer_service: callee })
        throw new CallError('overloaded', `${callee} is overloaded and refuses most calls; ${name} was not called`)
      }
      const answer = await circuit.execute(() => outgoing.send(scopeWith(scope, { span }), deadline))
      throttle.settled(isOverloaded(answer))
      const { attributes, labels, errorType } = transport.outcome(answer)
      span.setAttributes(attributes)
      if (errorType) failSpan(span, { code: errorType })
      observe(span, { ...outgoing.labels, ...labels }, startedAt, errorType)
      return answer
    } catch (error) {
      const failure = toCallError(error, name, callee, deadline, scope)
      // Whoever does not answer refuses nothing: that is the circuit's.
      if (failure.code === 'timeout' || failure.code === 'unreachable') throttle.settled(false)
      failSpan(span, failure)
      observe(span, { ...outgoing.labels, ...transport.unanswered }, startedAt, failure.code)
      throw failure
    } finally {
      deadline.clear()
      span.end()
    }
  }
}

function toCallError(error: unknown, name: string, callee: string, deadline: Deadline, { cancellation }: Scope): CallError {
  if (error instanceof CallError) return error
  if (error instanceof BrokenCircuitError) return new CallError('circuit-open', `${callee} failed lately; the circuit is open`)
  if (cancellation?.signal.aborted) return new CallError('cancelled', `the caller of ${name} gave up`, { cause: cancellation.signal.reason })
  if (deadline.signal.aborted) return new CallError('timeout', `${callee} did not answer ${name} in time`)
  return new CallError('unreachable', `${callee} cannot be reached for ${name}`, { cause: error })
}
