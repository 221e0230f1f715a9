import { type Span, SpanKind, type Tracer } from '@opentelemetry/api'
import { BrokenCircuitError } from 'cockatiel'
import { CallError } from '../contract/call-error.ts'
import type { Operation } from '../contract/contract.ts'
import { createDeadline, type Deadline } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { childSpan, failSpan } from '../telemetry/tracing.ts'
import type { RawAnswer } from './answers.ts'
import { type BreakerOptions, createCircuit } from './circuit.ts'
import type { Http, HttpRequest } from './http.ts'

export interface Attempt {
  scope: Scope
  /** The operation's name in the contract. */
  name: string
  operation: Operation
  request: HttpRequest
  timeoutMs: number
  /** How many attempts of the same call went before. */
  resends: number
}

export interface AttemptsOptions {
  tracer: Tracer
  metrics: Metrics
  callee: string
  http: Http
  breaker: Partial<BreakerOptions>
}

/**
 * Makes single attempts, each with a span, a metric and a time limit of its own, as long as the circuit is closed.
 * @throws CallError when nothing came back
 */
export function createAttempts({ tracer, metrics, callee, http, breaker }: AttemptsOptions): (attempt: Attempt) => Promise<RawAnswer> {
  const circuit = createCircuit(metrics, callee, breaker)

  const spanOf = ({ scope, operation, request, resends }: Attempt) =>
    childSpan(tracer, scope.span, `${operation.method} ${operation.path}`, {
      kind: SpanKind.CLIENT,
      attributes: {
        'http.request.method': operation.method,
        'url.template': operation.path,
        // Without the query, which the callee leaves out as well.
        'url.full': `http://${http.address.host}:${http.address.port}${request.path.split('?')[0]}`,
        'server.address': http.address.host,
        'server.port': http.address.port,
        'peer.service': callee,
        ...(resends > 0 && { 'http.request.resend_count': resends }),
      },
    })

  const observe = (span: Span, { method, path }: Operation, startedAt: number, status: number | '', errorType: string) => {
    const seconds = (performance.now() - startedAt) / 1_000
    metrics.clientDuration.observe({
      labels: { peer_service: callee, http_request_method: method, http_route: path, http_response_status_code: status, error_type: errorType },
      value: seconds,
      exemplarLabels: metrics.exemplar(span, seconds, errorType !== '') ?? {},
    } as never)
  }

  return async attempt => {
    const { scope, name, operation, request } = attempt
    const span = spanOf(attempt)
    const startedAt = performance.now()
    const deadline = createDeadline(attempt.timeoutMs)
    try {
      const answer = await circuit.execute(() => http.send({ ...scope, span }, operation, request, deadline))
      span.setAttribute('http.response.status_code', answer.status)
      const failed = answer.status >= 500 ? String(answer.status) : ''
      if (failed) failSpan(span, { code: failed })
      observe(span, operation, startedAt, answer.status, failed)
      return answer
    } catch (error) {
      const failure = toCallError(error, name, callee, deadline)
      failSpan(span, failure)
      observe(span, operation, startedAt, '', failure.code)
      throw failure
    } finally {
      deadline.clear()
      span.end()
    }
  }
}

function toCallError(error: unknown, name: string, callee: string, deadline: Deadline): CallError {
  if (error instanceof BrokenCircuitError) return new CallError('circuit-open', `${callee} failed lately; the circuit is open`)
  if (deadline.signal.aborted) return new CallError('timeout', `${callee} did not answer ${name} in time`)
  return new CallError('unreachable', `${callee} cannot be reached for ${name}`, { cause: error })
}
