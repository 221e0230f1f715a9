import { resolve } from 'node:path'
import { z } from 'zod'
import { defineContract, strict } from '../../services/chassis/contract/contract.ts'
import { defineService, defineSystem, type SystemDefinition } from '../../services/chassis/contract/graph.ts'
import { openApiOperation, openApiOperationOf } from '../../services/chassis/contract/openapi.ts'

/**
 * The graph of the kit's own tests, which say what it becomes by names, paths and counts. It looks like the shop's and is no part of it:
 * whatever a team adds to infra/system.ts or takes away, these tests go on telling whether the kit works.
 */

const operation = <const M extends string, const P extends `/${string}`, const A extends string>(method: M, path: P, auth: A) => ({
  method,
  path,
  summary: `${method} ${path}`,
  auth,
  responses: { 200: { description: 'Done' } },
})
const byId = { params: z.object({ id: z.uuid() }) }
const amount = strict({ amount: z.int() })

const userContract = defineContract({
  register: operation('POST', '/users', 'none'),
  logIn: operation('POST', '/sessions', 'none'),
  refresh: operation('POST', '/sessions/refresh', 'none'),
  logOut: operation('DELETE', '/sessions/current', 'user'),
  getMe: operation('GET', '/users/me', 'user'),
  changeMe: operation('PATCH', '/users/me', 'user'),
  changePassword: operation('PUT', '/users/me/password', 'user'),
  getCredit: operation('GET', '/users/me/credit', 'user'),
  getKeys: operation('GET', '/.well-known/jwks.json', 'none'),
  reserveCredit: { ...operation('PUT', '/reservations/{orderId}', 'workload'), params: z.object({ orderId: z.uuid() }), body: amount },
  releaseCredit: { ...operation('DELETE', '/reservations/{orderId}', 'workload'), params: z.object({ orderId: z.uuid() }) },
  getOpenApi: openApiOperation,
  getOpenApiByName: openApiOperationOf('user'),
})

const orderContract = defineContract({
  listProducts: operation('GET', '/products', 'none'),
  getProduct: { ...operation('GET', '/products/{sku}', 'none'), params: z.object({ sku: z.string().max(64) }) },
  placeOrder: { ...operation('POST', '/orders', 'user'), body: amount },
  listOrders: operation('GET', '/orders', 'user'),
  getOrder: { ...operation('GET', '/orders/{id}', 'user'), ...byId },
  cancelOrder: { ...operation('POST', '/orders/{id}/cancellation', 'user'), ...byId },
  getOpenApi: openApiOperation,
  getOpenApiByName: openApiOperationOf('order'),
})

export const user = defineService({
  name: 'user',
  port: 8080,
  contract: userContract,
  database: 'user',
  secrets: { 'signing-keys': { make: 'ed25519-jwk', rotateDays: 90 } },
  panels: [
    { metric: 'logins_total', kind: 'counter', by: 'outcome', title: 'Logins', description: 'Logins tried, by outcome.', unit: 'reqps' },
    {
      metric: 'password_hash_queue',
      kind: 'gauge',
      title: 'Password hashes waiting',
      description: 'Two are computed at once, 40 may wait.',
      unit: 'short',
    },
  ],
  alerts: [
    {
      alert: 'RefreshReuse',
      severity: 'ticket',
      counter: 'refresh_reuse_total',
      perHour: 5,
      summary: 'refresh tokens are used twice',
      description: '{{ $value | humanize }} sessions ended in the last hour because their refresh token was used twice.',
      runbook: 'refresh-reuse',
    },
  ],
  calls: [],
  timeoutMs: 1_000,
  maxConcurrency: 256,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 6 },
})

export const order = defineService({
  name: 'order',
  port: 8081,
  contract: orderContract,
  database: 'order',
  calls: [{ to: user, mode: 'optional', attemptTimeoutMs: 700, maxAttempts: 2, commands: ['reserveCredit', 'releaseCredit'] }],
  panels: [
    { metric: 'orders_total', kind: 'counter', by: 'state', title: 'Orders', description: 'Orders by the state that they reached.', unit: 'reqps' },
  ],
  timeoutMs: 2_000,
  maxConcurrency: 512,
  slo: { availability: 0.999, latency: { thresholdMs: 500, objective: 0.99 } },
  scale: { min: 2, max: 6 },
})

export const system: SystemDefinition & { services: readonly [typeof user, typeof order] } = defineSystem({
  name: 'shop',
  services: [user, order],
  users: user,
})

/** In this repository, whose folder has the services and runbooks. */
export const project = { system, root: resolve('.'), version: '0.1.0' }
