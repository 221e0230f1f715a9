import { randomBytes } from 'node:crypto'
import { isIdempotent, type JourneyStep } from '@fairlead/chassis'
import { Agent, type Dispatcher, request } from 'undici'
import type { z } from 'zod'
import { ingressAgent } from '../cluster/ingress-url.ts'

export interface CallOptions {
  /** Where a service is reached, e.g. `http://127.0.0.1:8000`. */
  origin: (service: string) => string
  /** The host that an ingress routes by. @default that of the origin */
  host?: string
  signal: AbortSignal
}

/** What a step sends, without references. */
export interface Sent {
  as?: string
  params?: Record<string, string>
  query?: Record<string, string>
  body?: unknown
  headers: Record<string, string>
}

export interface Received {
  status: number
  body: unknown
  isProblem: boolean
}

const ATTEMPT_TIMEOUT_MS = 10_000

/** Connections for `call`; whoever made them destroys them. */
export const connectionsTo = (host: string | undefined): Dispatcher => (host === undefined ? new Agent() : ingressAgent(host))

/** One attempt. Rejects where there is no answer within 10 s. */
export async function call(
  { service, operation }: JourneyStep,
  { as, params = {}, query = {}, body, headers }: Sent,
  traceId: string,
  { origin, host, dispatcher, signal }: CallOptions & { dispatcher: Dispatcher },
): Promise<Received> {
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(params[name])))
  const search = new URLSearchParams(query).toString()
  const answer = await request(`${origin(service.name)}${path}${search && `?${search}`}`, {
    method: operation.method,
    dispatcher,
    signal: AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT_MS)]),
    headers: {
      ...(host !== undefined && { host }),
      ...(as !== undefined && { authorization: `Bearer ${as}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01`,
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.body.text()
  const type = String(answer.headers['content-type'] ?? '')
  return { status: answer.statusCode, body: /json/.test(type) && text ? JSON.parse(text) : text, isProblem: /problem\+json/.test(type) }
}

export interface Trouble {
  what: string
  /**
   * What asking again is good for: `waiting` for what `until` wants, where the answer itself is good; `passing` where a rollout or a route
   * that is not there yet may be the cause; nothing where it is `final`.
   */
  kind: 'waiting' | 'passing' | 'final'
}

/** What is wrong with an answer by the contract, and by what the journey expects. */
export function troubleWith(received: Received | Error, { operation, until }: JourneyStep): Trouble | undefined {
  const mayRepeat = isIdempotent(operation) || operation.idempotencyKey === true
  if (received instanceof Error) {
    const { code = received.name } = received as NodeJS.ErrnoException
    return { what: `got no answer (${code})`, kind: mayRepeat || code === 'ECONNREFUSED' ? 'passing' : 'final' }
  }
  const { status, body, isProblem } = received
  const promised = status >= 200 && status < 300 ? operation.responses[status] : undefined
  if (promised) {
    const problem = problemOf(body, promised.body)
    if (problem) return { what: `answered ${status} with a body that its contract does not promise: ${problem}`, kind: 'final' }
    if (!until || until(body as never)) return undefined
    return { what: `answered ${status} ${shown(body)}`, kind: 'waiting' }
  }
  // The ingress answers 404 by itself as long as it has no route, and 502 or 504 when a pod may have begun.
  const passes = status === 503 || (status === 404 && !isProblem) || (mayRepeat && (status === 502 || status === 504))
  const what = `answered ${status} ${isProblem ? (body as { code?: string }).code : shown(body)}`.trim()
  return { what, kind: passes ? 'passing' : 'final' }
}

/** What is wrong with an answer's body. Members that the contract does not know are let be: a newer version of a service may say more. */
function problemOf(body: unknown, schema: z.ZodType | undefined): string | undefined {
  const issues = schema?.safeParse(body).error?.issues.filter(({ code }) => code !== 'unrecognized_keys') ?? []
  const [issue] = issues
  return issue && `${issue.path.join('.') || 'it'}: ${issue.message}`
}

const shown = (body: unknown) => (typeof body === 'string' ? body : JSON.stringify(body)).slice(0, 200).trim()
