import Fastify from 'fastify'
import { observe } from './observe.mjs'
import { findProduct } from './product.mjs'

const product = {
  type: 'object',
  properties: {
    sku: { type: 'string' },
    name: { type: 'string' },
    description: { type: 'string' },
    price: { type: 'object', properties: { amount: { type: 'integer' }, currency: { type: 'string' } } },
  },
}

const app = Fastify({ logger: false })
if (process.argv.includes('under-pressure')) {
  const { default: underPressure } = await import('@fastify/under-pressure')
  // What its README begins with, but for memory, which the bench's flags bound.
  await app.register(underPressure, { maxEventLoopDelay: 1_000, maxEventLoopUtilization: 0.98 })
}
app.addHook('onRequest', async request => {
  request.startedAt = performance.now()
})
app.addHook('onResponse', async (request, reply) => {
  const { method, routeOptions, startedAt } = request
  observe({ method, route: routeOptions.url, status: reply.statusCode, bytes: Number(reply.getHeader('content-length')), startedAt })
})
app.get('/products/:sku', { schema: { response: { 200: product } } }, async (request, reply) => {
  const found = await findProduct(request.params.sku)
  return found ?? reply.code(404).send()
})
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
