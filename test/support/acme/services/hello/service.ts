import { defineContract, defineService, strict } from '@fairlead/chassis'
import { z } from 'zod'

const responses = { 200: { description: 'Done' } }

/** No database, no users, no secrets: the least that a service can be. */
export const hello = defineService({
  name: 'hello',
  port: 8_080,
  timeoutMs: 500,
  maxConcurrency: 100,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 6 },
  contract: defineContract({
    greet: {
      method: 'GET',
      path: '/hello/{name}',
      summary: 'Greet',
      auth: 'none',
      params: z.object({ name: z.string().max(50) }),
      responses: { 200: { description: 'The greeting', body: strict({ text: z.string() }) } },
    },
    listGreetings: { method: 'GET', path: '/greetings', summary: 'All greetings', auth: 'none', responses },
    latestGreeting: { method: 'GET', path: '/greetings/latest', summary: 'The latest greeting', auth: 'none', responses },
  }),
})
