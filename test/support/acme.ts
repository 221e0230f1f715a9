import { resolve } from 'node:path'
import { z } from 'zod'
import { defineContract, strict } from '../../services/chassis/contract/contract.ts'
import { defineService, defineSystem } from '../../services/chassis/contract/graph.ts'
import { count } from '../../services/chassis/contract/settings.ts'

/** A system that has nothing in common with the one of this repository: the kit is tried with it. */

const id = z.object({ id: z.uuid() })
const common = {
  maxConcurrency: 100,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 4 },
} as const

export const hello = defineService({
  ...common,
  name: 'hello',
  port: 8_080,
  timeoutMs: 500,
  contract: defineContract({
    greet: {
      method: 'GET',
      path: '/hello/{name}',
      summary: 'Greet',
      auth: 'none',
      params: z.object({ name: z.string().max(50) }),
      responses: { 200: { description: 'The greeting', body: strict({ text: z.string() }) } },
    },
  }),
})

export const stock = defineService({
  ...common,
  name: 'stock',
  port: 8_081,
  timeoutMs: 500,
  database: 'stock',
  secrets: { licence: {}, seals: { make: 'ed25519-jwk', rotateDays: 90 } },
  panels: [{ metric: 'bikes_total', kind: 'counter', by: 'state', title: 'Bikes', description: 'Bikes by their state.', unit: 'short' }],
  alerts: [
    {
      alert: 'SoldOut',
      severity: 'ticket',
      counter: 'sold_out_total',
      perHour: 5,
      summary: 'bikes are sold out',
      description: '{{ $value | humanize }} reservations found nothing.',
      runbook: 'target-down',
    },
  ],
  contract: defineContract({
    reserve: {
      method: 'PUT',
      path: '/reservations/{id}',
      summary: 'Reserve',
      auth: 'workload',
      params: id,
      body: strict({ sku: z.string().max(64) }),
      responses: { 200: { description: 'Held', body: strict({ left: z.int() }) } },
    },
  }),
})

export const booking = defineService({
  ...common,
  name: 'booking',
  port: 8_082,
  timeoutMs: 1_000,
  database: 'booking',
  settings: { MAX_OPEN: count(5, 'open bookings per customer') },
  calls: [
    { to: stock, mode: 'optional', attemptTimeoutMs: 300, commands: ['reserve'] },
    { to: hello, mode: 'required', attemptTimeoutMs: 100 },
  ],
  contract: defineContract({
    book: {
      method: 'PUT',
      path: '/bookings/{id}',
      summary: 'Book',
      auth: 'user',
      params: id,
      body: strict({ sku: z.string().max(64) }),
      responses: { 202: { description: 'Taken' } },
    },
  }),
})

export const acme = defineSystem({
  name: 'acme',
  services: [hello, stock, booking],
  users: { issuer: 'https://id.acme.example', audience: 'acme', jwksUri: 'https://id.acme.example/jwks.json' },
})

/** A folder without runbooks and packages of its own. */
export const project = { system: acme, root: resolve('test/slow/consumer'), version: '1.2.3' }
