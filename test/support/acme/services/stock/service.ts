import { count, defineContract, defineService, openApiOperation, openApiOperationOf, strict } from '@fairlead/chassis'
import { z } from 'zod'
import { stockProto } from './proto.ts'

const responses = { 200: { description: 'Done' } }
const id = z.object({ id: z.uuid() })

/** Called by workloads, by gRPC, as well as by everybody. */
export const stock = defineService({
  name: 'stock',
  port: 8_081,
  grpc: { port: 8_091, numbers: stockProto },
  timeoutMs: 1_000,
  maxConcurrency: 256,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 6 },
  database: true,
  settings: { MAX_HELD: count(100, 'items held at once') },
  secrets: { seals: { make: 'ed25519-jwk', rotateDays: 90 } },
  panels: [
    { metric: 'bikes_total', kind: 'counter', by: 'state', title: 'Bikes', description: 'Bikes by the state that they reached.', unit: 'reqps' },
    { metric: 'deliveries_waiting', kind: 'gauge', title: 'Deliveries waiting', description: 'Deliveries that are yet to come.', unit: 'short' },
  ],
  alerts: [
    {
      alert: 'SoldOut',
      severity: 'ticket',
      counter: 'sold_out_total',
      perHour: 5,
      summary: 'bikes are sold out',
      description: '{{ $value | humanize }} reservations found nothing in the last hour.',
      runbook: 'sold-out',
    },
  ],
  contract: defineContract({
    listItems: { method: 'GET', path: '/items', summary: 'All items', auth: 'none', responses },
    getItem: {
      method: 'GET',
      path: '/items/{sku}',
      summary: 'One item',
      auth: 'none',
      params: z.object({ sku: z.string().max(64) }),
      responses,
    },
    reserve: {
      method: 'PUT',
      path: '/reservations/{id}',
      summary: 'Reserve',
      auth: 'workload',
      params: id,
      body: strict({ sku: z.string().max(64) }),
      responses: { 200: { description: 'Held', body: strict({ left: z.int() }) } },
    },
    release: { method: 'DELETE', path: '/reservations/{id}', summary: 'Release', auth: 'workload', params: id, responses },
    getOpenApi: openApiOperation,
    getOpenApiByName: openApiOperationOf('stock'),
  }),
})
