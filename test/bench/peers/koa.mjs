import Koa from 'koa'
import { observe } from './observe.mjs'
import { findProduct } from './product.mjs'

const app = new Koa()
app.use(async (ctx, next) => {
  const startedAt = performance.now()
  try {
    await next()
  } finally {
    observe({ method: ctx.method, route: ctx.state.route, status: ctx.status, bytes: ctx.length, startedAt })
  }
})
app.use(async ctx => {
  const [, sku] = /^\/products\/([^/]+)$/.exec(ctx.path) ?? []
  if (ctx.method !== 'GET' || !sku) return
  ctx.state.route = '/products/{sku}'
  const product = await findProduct(sku)
  if (product) ctx.body = product
})
app.listen(Number(process.env.PORT), '127.0.0.1')
