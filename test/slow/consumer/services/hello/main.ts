import { startService } from '@fairlead/chassis/run'
import { hello } from './service.ts'

await startService({
  service: hello,
  config: {},
  env: process.env,
  argv: process.argv,
  wire: async ({ app }) => ({
    app: app({ handlers: { greet: async ({ params }) => ({ status: 200, body: { text: `Hello ${params.name}` } }) }, verifiers: {} }),
    closers: [],
  }),
})
