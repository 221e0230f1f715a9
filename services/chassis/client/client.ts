import { SpanKind, type Tracer } from '@opentelemetry/api'
import { BrokenCircuitError } from 'cockatiel'
import { Agent, type Dispatcher } from 'undici'
import { backoffMs } from '../contract/backoff.ts'
import { CallError } from '../contract/call-error.ts'
import { type Answer, type Contract, isIdempotent, type Operation, type Outgoing } from '../contract/contract.ts'
import { aborted, createDeadline, DEADLINE_HEADER, type Deadline } from '../contract/deadline.ts'
import { type Callee, type CalleeName, DEFAULT_MAX_ATTEMPTS, edgeTo, podsHost, type ServiceDefinition } from '../contract/graph.ts'
import type { Scope } from '../contract/scope.ts'
import { RETRY_BACKOFF } from '../contract/timing.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { childSpan, failSpan, traceHeaders } from '../telemetry/tracing.ts'
import { type BreakerOptions, createCircuit } from './circuit.ts'
import { connectInTime } from './connect.ts'
import { createDiscovery, type Lookup } from './discovery.ts'
import { createRetryBudget } from './retry-budget.ts'

/** A problem that the callee's contract declares for an operation, by its code. */
export interface ProblemAnswer {
  status: number
  problem: { code: string; detail: string; [member: string]: unknown }
}

/** A declared answer, or a 4xx problem. */
export type Received<O extends Operation> = Answer<O> | ProblemAnswer

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
  /** `host` or `host:port` @default the callee's headless Service and port */
  host?: string
  /** Our own token for the callee, sent with operations that want a workload's. */
  workloadToken?: () => string
  lookup?: Lookup
  breaker?: Partial<BreakerOptions>
  random?: () => number
}

interface RawAnswer {
  status: number
  body: unknown
}

/** A client for one of the service's edges. Without the edge in the service's definition this does not compile. */
export function createClient<D extends ServiceDefinition, N extends CalleeName<D>>(
  service: D,
  callee: N,
  { tracer, metrics, host, workloadToken, lookup, breaker = {}, random }: ClientOptions,
): Client<Callee<D, N>['contract']> {
  const edge = edgeTo(service, callee)
  const { hostname, port } = new URL(`http://${host ?? podsHost(edge.to)}`)
  const calleePort = port || String(edge.to.port)
  const discovery = createDiscovery({ host: hostname, ...(lookup && { lookup }) })
  const agent = new Agent({
    connect: connectInTime,
    connections: 32,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    keepAliveMaxTimeout: 60_000,
  })
  const budget = createRetryBudget()
  const circuit = createCircuit(metrics, callee, breaker)
  const retries = metrics.counter('http_client_retries_total', 'Attempts after the first', ['peer_service'], [{ peer_service: callee }])
  const authority = `${hostname}:${calleePort}`

  /** One attempt: the first address that takes the connection gets it. */
  const send = async (scope: Scope, operation: Operation, request: Request, deadline: Deadline): Promise<RawAnswer> => {
    let lastError: unknown
    for (const address of await Promise.race([discovery.addresses(), aborted(deadline.signal)])) {
      try {
        const origin = `http://${address.includes(':') ? `[${address}]` : address}:${calleePort}`
        const answer = await agent.request({
          origin,
          path: request.path,
          method: operation.method,
          headers: {
            ...request.headers,
            host: authority,
            [DEADLINE_HEADER]: String(Math.max(1, Math.floor(deadline.remainingMs()))),
            ...traceHeaders(scope.span),
          },
          body: request.body,
          signal: deadline.signal,
        })
        return { status: answer.statusCode, body: await readAnswer(answer) }
      } catch (error) {
        lastError = error
        if (!neverSent(error)) throw error
      }
    }
    throw lastError
  }

  /** Gives an attempt its span, its metric and its own time limit. */
  const attempt = async (
    scope: Scope,
    name: string,
    operation: Operation,
    request: Request,
    timeoutMs: number,
    resends: number,
  ): Promise<RawAnswer> => {
    const span = childSpan(tracer, scope.span, `${operation.method} ${operation.path}`, {
      kind: SpanKind.CLIENT,
      attributes: {
        'http.request.method': operation.method,
        'url.template': operation.path,
        // Without the query, which the callee leaves out as well.
        'url.full': `http://${authority}${request.path.split('?')[0]}`,
        'server.address': hostname,
        'server.port': Number(calleePort),
        'peer.service': callee,
        ...(resends > 0 && { 'http.request.resend_count': resends }),
      },
    })
    const startedAt = performance.now()
    const deadline = createDeadline(timeoutMs)
    const labels = { peer_service: callee, http_request_method: operation.method, http_route: operation.path }
    const done = (status: number | '', errorType: string) => {
      const seconds = (performance.now() - startedAt) / 1_000
      const exemplar = metrics.exemplar(span, seconds, errorType !== '')
      metrics.clientDuration.observe({
        labels: { ...labels, http_response_status_code: status, error_type: errorType },
        value: seconds,
        exemplarLabels: exemplar ?? {},
      } as never)
    }
    try {
      const answer = await circuit.execute(() => send({ ...scope, span }, operation, request, deadline))
      span.setAttribute('http.response.status_code', answer.status)
      const failed = answer.status >= 500 ? String(answer.status) : ''
      if (failed) failSpan(span, { code: failed })
      done(answer.status, failed)
      return answer
    } catch (error) {
      const failure = toCallError(error, name, callee, deadline)
      failSpan(span, failure)
      done('', failure.code)
      throw failure
    } finally {
      deadline.clear()
      span.end()
    }
  }

  return {
    close: () => agent.destroy(),
    call: async (scope, name, options) => {
      const operation = edge.to.contract[name] as Operation
      const request = toRequest(operation, operation.auth === 'workload' && workloadToken ? { ...options, token: workloadToken() } : options)
      const maxAttempts = isIdempotent(operation) ? (edge.maxAttempts ?? DEFAULT_MAX_ATTEMPTS) : 1
      const marginMs = options.marginMs ?? 20
      budget.deposit()
      for (let n = 1; ; n++) {
        const timeoutMs = Math.min(edge.attemptTimeoutMs, scope.deadline.remainingMs() - marginMs)
        if (timeoutMs <= 0) throw new CallError('deadline-exceeded', `no time is left to call ${callee}`)
        const result = await attempt(scope, name, operation, request, timeoutMs, n - 1).catch((error: CallError) => error)
        const failure = result instanceof CallError ? result : undefinedAnswer(result, operation, name, callee)
        if (!failure) return received(result as RawAnswer) as never
        const waitMs = backoffMs(n - 1, { ...RETRY_BACKOFF, ...(random && { random }) })
        const timeForAnother = scope.deadline.remainingMs() - marginMs - waitMs > 0
        if (n >= maxAttempts || !isWorthRetrying(failure, result) || !timeForAnother || !budget.withdraw()) throw failure
        retries.inc({ peer_service: callee })
        await Promise.race([new Promise(resolve => setTimeout(resolve, waitMs)), aborted(scope.deadline.signal)])
      }
    },
  }
}

interface Request {
  path: string
  headers: Record<string, string>
  body: string | null
}

function toRequest(operation: Operation, options: { params?: unknown; query?: unknown; headers?: unknown; body?: unknown; token?: string }): Request {
  const params = (options.params ?? {}) as Record<string, string>
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name] ?? ''))
  const query = new URLSearchParams((options.query ?? {}) as Record<string, string>).toString()
  const hasBody = options.body !== undefined
  return {
    path: query ? `${path}?${query}` : path,
    headers: {
      ...((options.headers ?? {}) as Record<string, string>),
      ...(hasBody && { 'content-type': 'application/json' }),
      ...(options.token && { authorization: `Bearer ${options.token}` }),
    },
    body: hasBody ? JSON.stringify(options.body) : null,
  }
}

/** Bodies between services are small; a larger one is a defect. */
const MAX_ANSWER_BYTES = 1_048_576

async function readAnswer(answer: Dispatcher.ResponseData): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer.body) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString()
  const isJson = /^application\/(problem\+)?json\b/.test(String(answer.headers['content-type'] ?? ''))
  return isJson && text !== '' ? JSON.parse(text) : undefined
}

const NEVER_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])

/** A connection that was never made: the request certainly had no effect, and another address may take it. */
const neverSent = (error: unknown) => NEVER_SENT.has((error as { code?: string }).code ?? '')

function toCallError(error: unknown, name: string, callee: string, deadline: Deadline): CallError {
  if (error instanceof BrokenCircuitError) return new CallError('circuit-open', `${callee} failed lately; the circuit is open`)
  if (deadline.signal.aborted) return new CallError('timeout', `${callee} did not answer ${name} in time`)
  return new CallError('unreachable', `${callee} cannot be reached for ${name}`, { cause: error })
}

const isProblem = (body: unknown): body is ProblemAnswer['problem'] => typeof (body as { code?: unknown } | undefined)?.code === 'string'

/** Declared answers, with their body, and the callee's own 4xx problems are answers; everything else is a failure. */
function undefinedAnswer({ status, body }: RawAnswer, operation: Operation, name: string, callee: string): CallError | undefined {
  const declared = operation.responses[status]
  if (declared ? body !== undefined || !declared.body : status >= 400 && status < 500 && isProblem(body)) return undefined
  return new CallError(`status-${status}`, `${callee} answered ${name} with ${status}${isProblem(body) ? ` ${body.code}` : ''}`, { status })
}

const received = ({ status, body }: RawAnswer) => (status >= 400 ? { status, problem: body } : { status, body })

/** Overload and an open circuit are left alone: a retry now would make them worse. */
function isWorthRetrying(failure: CallError, result: RawAnswer | CallError): boolean {
  if (failure.code === 'unreachable' || failure.code === 'timeout') return true
  if (result instanceof CallError) return false
  return (result.status === 502 || result.status === 503 || result.status === 504) && (!isProblem(result.body) || result.body.code !== 'overloaded')
}
