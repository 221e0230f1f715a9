// NestJS with its decorators called as the functions that they are, so that nothing must be built.
import 'reflect-metadata'
import { Controller, Get, Module, NotFoundException, Param } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { observe } from './observe.mjs'
import { findProduct } from './product.mjs'

class ProductController {
  async getProduct(sku) {
    const product = await findProduct(sku)
    if (!product) throw new NotFoundException()
    return product
  }
}
Get(':sku')(ProductController.prototype, 'getProduct', Object.getOwnPropertyDescriptor(ProductController.prototype, 'getProduct'))
Param('sku')(ProductController.prototype, 'getProduct', 0)
Reflect.defineMetadata('design:paramtypes', [String], ProductController.prototype, 'getProduct')
Controller('products')(ProductController)

class AppModule {}
Module({ controllers: [ProductController] })(AppModule)

const app = await NestFactory.create(AppModule, { logger: false })
app.use((request, response, next) => {
  const startedAt = performance.now()
  response.on('finish', () => {
    const { method, route } = request
    observe({ method, route: route?.path, status: response.statusCode, bytes: Number(response.getHeader('content-length')), startedAt })
  })
  next()
})
await app.listen(Number(process.env.PORT), '127.0.0.1')
