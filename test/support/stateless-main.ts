import { z } from 'zod'
import { defineContract, strict } from '../../services/chassis/contract/contract.ts'
import { defineService } from '../../services/chassis/contract/graph.ts'
import { implement } from '../../services/chassis/contract/implement.ts'
import { startService } from '../../services/chassis/run/start.ts'
import { small } from './small.ts'

/** The least that a service can be: no database, no settings of its own. */
const ping = defineService({
  name: 'ping',
  port: 8_082,
  contract: defineContract({
    ping: {
      method: 'GET',
      path: '/',
      summary: 'Ping',
      auth: 'none',
      responses: { 200: { description: 'What it was given', body: strict({ wiring: z.array(z.string()) }) } },
    },
  }),
  ...small,
})

const pingService = implement(ping, {
  start: wiring => ({ handlers: { ping: () => ({ status: 200, body: { wiring: given(wiring) } }) } }),
})

const given = (wiring: Record<string, unknown>) => Object.keys(wiring).filter(name => wiring[name] !== undefined)

await startService(pingService)
