import { randomUUID } from 'node:crypto'
import { request } from 'undici'
import { ingressAgent } from '../../../scripts/cluster/ingress-url.ts'
import type { Taken } from '../../../scripts/journey/take-step.ts'
import { newClients } from './clients.ts'
import { ingressUrl, settings } from './target.ts'

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

/** New clients of the shop, known by name. */
export async function newCustomers(count: number): Promise<Customer[]> {
  const loggedIn = (await newClients(count)).map(({ taken }) => taken.at(-1) as Taken<{ accessToken: string }>)
  return loggedIn.map(({ sent, body }) => ({ ...(sent.body as Pick<Customer, 'email' | 'password'>), token: body.accessToken }))
}

export const newCustomer = async (): Promise<Customer> => (await newCustomers(1))[0] as Customer

export const placeOrder = (token: string): Promise<Reply> =>
  http('POST', '/orders', { token, key: randomUUID(), body: { items: [{ sku: 'phone-case', quantity: 1 }] } })
