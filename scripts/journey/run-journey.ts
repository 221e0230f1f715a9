import { randomBytes } from 'node:crypto'
import { type FreshKind, fill, isIdempotent, type Journey, type JourneyStep, newId, type Source } from '@fairlead/chassis'
import { Agent, type Dispatcher, request } from 'undici'
import type { z } from 'zod'
import { ingressAgent } from '../cluster/ingress-url.ts'
import { pause } from '../pause.ts'
import { toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import type { UserTokens } from './user-tokens.ts'

export interface RunOptions {
  /** Where a service is reached, e.g. `http://127.0.0.1:8000`. */
  origin: (service: string) => string
  /** The host that an ingress routes by. @default that of the origin */
  host?: string
  signal: AbortSignal
  /** How long a step may take until its answer is good, in milliseconds. @default 60000 */
  stepTimeoutMs?: number
  /** The trace that a step is to be part of, as 32 hex digits. @default one of its own */
  traceId?: () => string
  /** The command that shows the logs of a service. @default none */
  logs?: (service: string) => string
  /** Gives the access token of a user of a foreign issuer. @default nobody does */
  userToken?: UserTokens | undefined
}

/** A step that was taken. */
export interface Taken<Body = unknown> {
  step: JourneyStep
  /** E.g. `order.getOrder`. */
  title: string
  status: number
  body: Body
  /** From the first attempt to the good answer. */
  ms: number
  traceId: string
  /** The access token that was shown. */
  as?: string | undefined
}

const ATTEMPT_TIMEOUT_MS = 10_000
const PAUSE_MS = 500

const FRESH: Record<FreshKind, () => string> = {
  id: newId,
  email: () => `journey-${randomBytes(6).toString('hex')}@example.org`,
  password: () => randomBytes(18).toString('base64url'),
  text: () => randomBytes(12).toString('hex'),
}

/**
 * Takes a journey once. What routes and rollouts need a moment for is tried again.
 * @throws CommandError naming the step, the status and the problem code
 */
export async function runJourney({ steps }: Journey, options: RunOptions): Promise<Taken[]> {
  const { host, signal, traceId = () => randomBytes(16).toString('hex') } = options
  const dispatcher = host === undefined ? new Agent() : ingressAgent(host)
  const known = new Map<string, unknown>()
  const taken: Taken[] = []
  try {
    for (const [index, step] of steps.entries()) {
      const title = `${step.service.name}.${step.name}`
      const where = `${title} (step ${index + 1} of ${steps.length})`
      const { as, params, query, body, headers } = step
      const sent = { as, params, query, body, headers }
      for (const source of sourcesOf(sent)) {
        const key = JSON.stringify(source)
        if (!known.has(key)) known.set(key, await valueFrom(source, taken, options, where))
      }
      const values = fill(sent, source => known.get(JSON.stringify(source))) as Sent
      const trace = traceId()
      const startedAt = performance.now()
      const answer = await untilGood(step, where, options, () => send(step, values, trace, { ...options, dispatcher }))
      taken.push({ step, title, ...answer, ms: Math.round(performance.now() - startedAt), traceId: trace, as: values.as })
    }
    return taken
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    await dispatcher.destroy()
  }
}

function sourcesOf(value: unknown): Source[] {
  const sources: Source[] = []
  fill(value, source => sources.push(source))
  return sources
}

async function valueFrom(source: Source, taken: readonly Taken[], { userToken }: RunOptions, where: string): Promise<unknown> {
  if (source.from === 'fresh') return FRESH[source.kind]()
  if (source.from === 'user') {
    if (!userToken) throw new CommandError(`${where}: the access token of a user ('${source.name}') is wanted, and nobody here gives one`)
    return userToken(source.name)
  }
  const { title, body } = taken[source.step] as Taken
  const value = source.path.reduce<unknown>((member, key) => (member as Record<string, unknown> | null | undefined)?.[key], body)
  if (value === undefined) throw new CommandError(`${where}: the answer of ${title} has no ${source.path.join('.') || 'body'}`)
  return value
}

interface Sent {
  as?: string
  params?: Record<string, string>
  query?: Record<string, string>
  body?: unknown
  headers: Record<string, string>
}

interface Received {
  status: number
  body: unknown
  isProblem: boolean
}

async function send(
  { service, operation }: JourneyStep,
  { as, params = {}, query = {}, body, headers }: Sent,
  traceId: string,
  { origin, host, dispatcher, signal }: RunOptions & { dispatcher: Dispatcher },
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

/** Tries again until the answer is good, as long as that may help. */
async function untilGood(step: JourneyStep, where: string, { signal, stepTimeoutMs = 60_000, logs }: RunOptions, attempt: () => Promise<Received>) {
  const endsAt = performance.now() + stepTimeoutMs
  for (;;) {
    const received = await attempt().catch((error: Error) => error)
    signal.throwIfAborted()
    const trouble = troubleWith(received, step)
    if (!trouble) return { status: (received as Received).status, body: (received as Received).body }
    const isLast = performance.now() > endsAt
    if (isLast || !trouble.passes) {
      const { method, path } = step.operation
      const call = `${where}: ${method} ${path} ${trouble.what}`
      throw new CommandError(isLast ? `${call}, still after ${stepTimeoutMs / 1_000} s` : call, logs ? toRun(logs(step.service.name)) : {})
    }
    await pause(PAUSE_MS, signal)
  }
}

/** What is wrong with an answer, and whether it may pass: a rollout, a route that is not there yet, and what `until` waits for. */
function troubleWith(received: Received | Error, { operation, until }: JourneyStep): { what: string; passes: boolean } | undefined {
  const mayRepeat = isIdempotent(operation) || operation.idempotencyKey === true
  if (received instanceof Error) {
    const { code = received.name } = received as NodeJS.ErrnoException
    return { what: `got no answer (${code})`, passes: mayRepeat || code === 'ECONNREFUSED' }
  }
  const { status, body, isProblem } = received
  const promised = status >= 200 && status < 300 ? operation.responses[status] : undefined
  if (promised) {
    const problem = problemOf(body, promised.body)
    if (problem) return { what: `answered ${status} with a body that its contract does not promise: ${problem}`, passes: false }
    if (!until || until(body as never)) return undefined
    return { what: `answered ${status} ${shown(body)}`, passes: true }
  }
  // The ingress answers 404 by itself as long as it has no route, and 502 or 504 when a pod may have begun.
  const passes = status === 503 || (status === 404 && !isProblem) || (mayRepeat && (status === 502 || status === 504))
  return { what: `answered ${status} ${isProblem ? (body as { code?: string }).code : shown(body)}`.trim(), passes }
}

/** What is wrong with an answer's body. Members that the contract does not know are let be: a newer version of a service may say more. */
function problemOf(body: unknown, schema: z.ZodType | undefined): string | undefined {
  const issues = schema?.safeParse(body).error?.issues.filter(({ code }) => code !== 'unrecognized_keys') ?? []
  const [issue] = issues
  return issue && `${issue.path.join('.') || 'it'}: ${issue.message}`
}

const shown = (body: unknown) => (typeof body === 'string' ? body : JSON.stringify(body)).slice(0, 200).trim()
