import { z } from 'zod'
import { defineContract, strict } from '../../services/chassis/contract/contract.ts'
import { defineService } from '../../services/chassis/contract/graph.ts'
import { id } from '../../services/chassis/contract/ids.ts'
import { small } from './small.ts'

/** Takes commands. */
export const stock = defineService({
  ...small,
  name: 'stock',
  port: 8_081,
  calls: [],
  contract: defineContract({
    reserve: {
      method: 'PUT',
      path: '/reservations/{id}',
      summary: 'Reserve',
      auth: 'workload',
      params: z.object({ id }),
      body: strict({ sku: z.string() }),
      responses: { 200: { description: 'Reserved', body: strict({ left: z.int() }) } },
      problems: { 404: ['unknown-sku'], 409: ['sold-out'], 429: ['too-many-reservations'] },
    },
    release: {
      method: 'DELETE',
      path: '/reservations/{id}',
      summary: 'Release',
      auth: 'workload',
      params: z.object({ id }),
      responses: { 204: { description: 'Released' } },
    },
    count: { method: 'GET', path: '/count', summary: 'Count', auth: 'workload', responses: { 204: { description: 'None' } } },
    show: { method: 'PUT', path: '/shown', summary: 'Show', auth: 'user', responses: { 204: { description: 'Shown' } } },
  }),
})

/** Sends them. */
export const booking = defineService({
  ...small,
  name: 'booking',
  port: 8_082,
  database: true,
  contract: defineContract({}),
  calls: [{ to: stock, mode: 'optional', attemptTimeoutMs: 300, commands: ['reserve', 'release'] }],
})
