import Koa from 'koa'
import { defineService } from '../../services/chassis/contract/graph.ts'
import { startService } from '../../services/chassis/run/start.ts'

/** The least that a service can be: no database, no settings of its own. */
const ping = defineService({
  name: 'ping',
  port: 8_082,
  contract: {},
  calls: [],
  timeoutMs: 1_000,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 1, max: 1 },
})

await startService({
  service: ping,
  config: {},
  env: process.env,
  argv: process.argv,
  wire: async ({ database }) => {
    const none: undefined = database
    const app = new Koa()
    app.use(ctx => {
      ctx.body = { database: String(none) }
    })
    return { app }
  },
})
