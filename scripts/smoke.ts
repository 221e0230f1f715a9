import { randomBytes, randomUUID } from 'node:crypto'
import { type Dispatcher, request } from 'undici'
import { ingressAgent } from './cluster/ingress-url.ts'
import { CommandError } from './terminal.ts'

export interface SmokeOptions {
  /** Where the ingress is reached, e.g. `http://127.0.0.1:8000`. */
  baseUrl: string
  /** The host that it routes by. */
  host: string
  signal: AbortSignal
  /** Trace that the order is to be part of, as 32 hex digits. @default one of its own */
  traceId?: string
  /** Whether the order is cancelled at the end. @default false */
  cancel?: boolean
  /** Time for the routes to answer, and for the order to be confirmed, each in milliseconds. @default 60000 */
  timeoutMs?: number
}

/** The service whose trace an order begins with, and the calls that are part of it; others of the graph may be for other requests. */
export const SMOKE_TRACE = { entry: 'order', calls: ['order -> user'] } as const

const REQUEST_TIMEOUT_MS = 10_000
const PAUSE_MS = 500

/**
 * A customer's whole way through the ingress: register, log in, look, order, until the order is confirmed and the credit reserved.
 * @throws CommandError naming the step, the status and the problem code
 */
export async function smoke({ baseUrl, host, signal, traceId, cancel = false, timeoutMs = 60_000 }: SmokeOptions): Promise<{ orderId: string }> {
  const dispatcher = ingressAgent(host)
  const http = async (
    step: string,
    method: Dispatcher.HttpMethod,
    path: string,
    options: { token?: string; body?: unknown; key?: string; trace?: string } = {},
  ) => {
    const { token, body, key, trace } = options
    const answer = await request(`${baseUrl}${path}`, {
      method,
      dispatcher,
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      headers: {
        host,
        ...(token && { authorization: `Bearer ${token}` }),
        ...(key && { 'idempotency-key': key }),
        ...(trace && { traceparent: `00-${trace}-${randomBytes(8).toString('hex')}-01` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.body.text()
    const json = text && /json/.test(String(answer.headers['content-type'])) ? JSON.parse(text) : {}
    if (answer.statusCode < 300) return json
    throw new CommandError(`${step}: ${method} ${path} answered ${answer.statusCode} ${json.code ?? text.slice(0, 100).trim()}`)
  }
  /** Repeats until it gives something, for routes and orders need a moment. */
  const eventually = async <T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> => {
    const endsAt = performance.now() + timeoutMs
    let last = 'no answer yet'
    for (;;) {
      const found = await attempt().catch((error: Error) => {
        signal.throwIfAborted()
        last = error.message
        return undefined
      })
      if (found !== undefined) return found
      if (performance.now() > endsAt)
        throw new CommandError(`${what} in ${timeoutMs / 1_000} s; last seen: ${last}`, `curl -i -H 'Host: ${host}' ${baseUrl}/products`)
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
    }
  }
  try {
    const { products } = await eventually('the ingress did not route to the services', async () => {
      await http('keys', 'GET', '/.well-known/jwks.json')
      return http('products', 'GET', '/products')
    })
    const customer = { email: `smoke-${randomBytes(6).toString('hex')}@example.org`, password: randomBytes(18).toString('base64url') }
    await http('register', 'POST', '/users', { body: { ...customer, name: 'Smoke' } })
    const { accessToken: token } = await http('log in', 'POST', '/sessions', { body: customer })
    const cheapest = [...products].sort((a, b) => a.price.amount - b.price.amount)[0]
    const placed = await eventually('the order was not taken', () =>
      http('order', 'POST', '/orders', {
        token,
        key: randomUUID(),
        body: { items: [{ sku: cheapest.sku, quantity: 1 }] },
        ...(traceId && { trace: traceId }),
      }),
    )
    await eventually('the order was not confirmed', async () => {
      const { state } = await http('order', 'GET', `/orders/${placed.id}`, { token })
      if (state === 'confirmed') return true
      throw new Error(`the order is ${state}`)
    })
    const { reserved } = await http('credit', 'GET', '/users/me/credit', { token })
    if (reserved.amount !== placed.total.amount)
      throw new CommandError(`credit: ${reserved.amount} is reserved for an order of ${placed.total.amount}`)
    if (cancel) await http('cancel', 'POST', `/orders/${placed.id}/cancellation`, { token })
    return { orderId: placed.id }
  } finally {
    await dispatcher.destroy()
  }
}
