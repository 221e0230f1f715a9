import { randomBytes, randomUUID } from 'node:crypto'
import { request } from 'undici'
import { ingressAgent } from '../../../scripts/cluster/ingress-url.ts'
import { noteSecrets } from './secrets.ts'
import { ingressUrl, settings } from './target.ts'
import { forgetRegistrations } from './throttle.ts'

const dispatcher = ingressAgent(settings.HOST)

export interface Reply {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers of many operations
  body: any
}

export interface Ask {
  token?: string
  key?: string
  body?: unknown
  headers?: Record<string, string>
}

/** One request through the ingress. Rejects when there is no answer. */
export async function http(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, { token, key, body, headers }: Ask = {}): Promise<Reply> {
  const answer = await request(`${ingressUrl}${path}`, {
    method,
    dispatcher,
    signal: AbortSignal.timeout(10_000),
    headers: {
      host: settings.HOST,
      ...headers,
      ...(token && { authorization: `Bearer ${token}` }),
      ...(key && { 'idempotency-key': key }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.body.text()
  const json = /json/.test(String(answer.headers['content-type']))
  return { status: answer.statusCode, body: json && text ? JSON.parse(text) : text }
}

export interface Customer {
  email: string
  password: string
  token: string
}

export async function newCustomer(): Promise<Customer> {
  const customer = { email: `e2e-${randomBytes(8).toString('hex')}@example.org`, password: randomBytes(12).toString('base64url') }
  const register = () => http('POST', '/users', { body: { ...customer, name: 'Customer' } })
  let registered = await register()
  if (registered.status === 429) {
    await forgetRegistrations()
    registered = await register()
  }
  if (registered.status !== 201) throw new Error(`register: ${registered.status} ${JSON.stringify(registered.body)}`)
  return { ...customer, token: await logIn(customer) }
}

/** @returns a new access token, which lives for minutes only */
export async function logIn({ email, password }: Pick<Customer, 'email' | 'password'>): Promise<string> {
  const session = await http('POST', '/sessions', { body: { email, password } })
  if (session.status !== 201) throw new Error(`log in: ${session.status} ${JSON.stringify(session.body)}`)
  const { accessToken, refreshToken } = session.body
  noteSecrets(email, password, accessToken, accessToken.split('.')[2], refreshToken)
  return accessToken
}

/** A few at a time: each costs the user service two password hashes. */
export async function newCustomers(count: number): Promise<Customer[]> {
  const customers: Customer[] = []
  while (customers.length < count) customers.push(...(await Promise.all([newCustomer(), newCustomer()])))
  return customers.slice(0, count)
}

/** Orders of the cheapest product that a new customer's credit is good for. */
export const ORDERS_PER_CUSTOMER = 34

export const placeOrder = (token: string): Promise<Reply> =>
  http('POST', '/orders', { token, key: randomUUID(), body: { items: [{ sku: 'phone-case', quantity: 1 }] } })
