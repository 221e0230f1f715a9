import { count, defineContract, defineService, openApiOperation, openApiOperationOf, strict } from '@fairlead/chassis'
import { z } from 'zod'
import { hello } from '../hello/service.ts'
import { stock } from '../stock/service.ts'

const responses = { 200: { description: 'Done' } }
const id = z.object({ id: z.uuid() })

/** A caller with an outbox, and with users of its own. */
export const booking = defineService({
  name: 'booking',
  port: 8_082,
  timeoutMs: 2_000,
  maxConcurrency: 512,
  slo: { availability: 0.999, latency: { thresholdMs: 500, objective: 0.99 } },
  scale: { min: 2, max: 6 },
  database: true,
  settings: { MAX_OPEN: count(5, 'open bookings per customer') },
  calls: [
    { to: stock, mode: 'optional', protocol: 'grpc', attemptTimeoutMs: 700, maxAttempts: 2, commands: ['reserve', 'release'] },
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
    listBookings: { method: 'GET', path: '/bookings', summary: 'My bookings', auth: 'user', responses },
    getBooking: { method: 'GET', path: '/bookings/{id}', summary: 'One booking', auth: 'user', params: id, responses },
    cancelBooking: { method: 'POST', path: '/bookings/{id}/cancellation', summary: 'Cancel', auth: 'user', params: id, responses },
    getOpenApi: openApiOperation,
    getOpenApiByName: openApiOperationOf('booking'),
  }),
})
