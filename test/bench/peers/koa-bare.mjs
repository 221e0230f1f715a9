import Koa from 'koa'
import { findProduct } from './product.mjs'

const app = new Koa()
app.use(async ctx => {
  const [, sku] = /^\/products\/([^/]+)$/.exec(ctx.path) ?? []
  const product = ctx.method === 'GET' && sku ? await findProduct(sku) : undefined
  if (product) ctx.body = product
})
app.listen(Number(process.env.PORT), '127.0.0.1')
