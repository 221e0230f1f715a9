import { z } from 'zod'
import { defineContract, strict } from '../../services/chassis/contract/contract.ts'
import { defineService } from '../../services/chassis/contract/graph.ts'
import { id } from '../../services/chassis/contract/ids.ts'
import { openApiOperation } from '../../services/chassis/contract/openapi.ts'
import { small } from './small.ts'

/** Two services whose operations have what a journey can say of one. */

const BOOKING_ID = '01890a5d-ac96-774b-bcce-b302099a8057'
const held = { id: BOOKING_ID, state: 'held', seats: [{ row: 7, name: 'Ada' }] }

const booking = strict({
  id,
  state: z.enum(['pending', 'held']),
  seats: z.array(strict({ row: z.int(), name: z.string() })),
  refusal: strict({ code: z.string() }).optional(),
})

export const stock = defineService({
  name: 'stock',
  port: 8091,
  contract: defineContract({
    reserve: {
      method: 'PUT',
      path: '/reservations/{id}',
      summary: 'Reserve',
      auth: 'workload',
      params: z.object({ id }),
      responses: { 204: { description: 'Reserved' } },
    },
    prices: {
      method: 'GET',
      path: '/prices',
      summary: 'Prices',
      auth: 'none',
      query: strict({ currency: z.enum(['EUR', 'USD']).optional() }),
      responses: {
        200: {
          description: 'Prices',
          body: strict({ byName: z.record(z.string(), z.int()), newest: z.union([strict({ sku: z.string() }), z.null()]), raw: z.unknown() }),
          example: { byName: { bike: 3 }, newest: null, raw: 'as it came' },
        },
        304: { description: 'Unchanged' },
      },
    },
    price: {
      method: 'GET',
      path: '/prices/{sku}',
      summary: 'One price',
      auth: 'none',
      params: z.object({ sku: z.string().max(64) }),
      responses: { 200: { description: 'The price', body: strict({ sku: z.string(), cents: z.int() }), example: { sku: 'bike', cents: 300 } } },
    },
    getOpenApi: openApiOperation,
  }),
  ...small,
})

export const desk = defineService({
  name: 'desk',
  port: 8090,
  ...small,
  contract: defineContract({
    logIn: {
      method: 'POST',
      path: '/sessions',
      summary: 'Log in',
      auth: 'none',
      body: strict({ email: z.email(), password: z.string().min(12) }),
      bodyExample: { email: 'ada@example.org', password: 'correct horse' },
      responses: {
        201: { description: 'In', body: strict({ accessToken: z.string(), expiresIn: z.int() }), example: { accessToken: 'eyJ', expiresIn: 300 } },
      },
    },
    book: {
      method: 'PUT',
      path: '/bookings/{id}',
      summary: 'Book',
      auth: 'user',
      params: z.object({ id }),
      body: strict({ sku: z.string().regex(/^[a-z]+$/), row: z.int().optional(), names: z.array(z.string()).max(3) }),
      bodyExample: { sku: 'bike', names: ['Ada'] },
      responses: { 200: { description: 'Held', body: booking, example: held }, 202: { description: 'Taken', body: booking, example: held } },
      problems: { 409: ['taken'] },
    },
    pay: {
      method: 'POST',
      path: '/bookings/{id}/payment',
      summary: 'Pay',
      auth: 'user',
      idempotencyKey: true,
      params: z.object({ id }),
      body: strict({
        cents: z.int(),
        by: z.union([strict({ iban: z.string().length(22) }), strict({ card: z.enum(['debit', 'credit']) })]).optional(),
      }),
      bodyExample: { cents: 300 },
      responses: { 201: { description: 'Paid', body: booking, example: held } },
    },
    get: {
      method: 'GET',
      path: '/bookings/{id}',
      summary: 'One',
      auth: 'user',
      params: z.object({ id }),
      responses: { 200: { description: 'The booking', body: booking, example: held } },
    },
    leave: {
      method: 'DELETE',
      path: '/bookings/{id}',
      summary: 'Leave',
      auth: 'user',
      params: z.object({ id }),
      responses: { 204: { description: 'Left' } },
    },
    getOpenApi: openApiOperation,
  }),
  calls: [{ to: stock, mode: 'optional', attemptTimeoutMs: 300 }],
})
