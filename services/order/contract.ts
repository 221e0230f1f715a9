import { defineContract, id, openApiOperation, openApiOperationOf, pageQuery, strict, timestamp } from '@fairlead/chassis'
import { z } from 'zod'
import { money } from '../money.ts'

export const STATES = ['pending', 'confirmed', 'rejected', 'cancelling', 'cancelled'] as const

const sku = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'is not a SKU: 1 to 64 lower-case letters, digits and dashes')

const product = strict({ sku, name: z.string(), description: z.string(), price: money }).meta({ title: 'Product' })
const item = strict({ sku, name: z.string(), quantity: z.int(), unitPrice: money }).meta({ title: 'OrderItem' })
const order = strict({
  id,
  state: z.enum(STATES).meta({ title: 'OrderState' }),
  items: z.array(item),
  total: money,
  createdAt: timestamp,
  rejection: strict({ code: z.string() }).optional(),
}).meta({ title: 'Order' })

export type Product = z.infer<typeof product>
export type OrderItem = z.infer<typeof item>
export type Order = z.infer<typeof order>
export type OrderState = Order['state']

const items = z
  .array(strict({ sku, quantity: z.int().min(1).max(1_000) }))
  .min(1)
  .max(50)

const orderId = z.object({ id })

const examplePrice = { amount: 12_900, currency: 'EUR' } as const
const exampleProduct = { sku: 'airpods-4', name: 'AirPods 4', description: 'Wireless earphones', price: examplePrice }
const exampleOrder = {
  id: '0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978',
  state: 'confirmed',
  items: [{ sku: 'airpods-4', name: 'AirPods 4', quantity: 1, unitPrice: examplePrice }],
  total: examplePrice,
  createdAt: '2026-11-24T09:30:00.000Z',
}
const pending = { ...exampleOrder, state: 'pending' }
const cached = { ETag: 'Version of the answer', 'Cache-Control': 'May be kept, must be revalidated' }

export const orderContract = defineContract({
  listProducts: {
    method: 'GET',
    path: '/products',
    summary: 'All products',
    auth: 'none',
    responses: {
      200: { description: 'By SKU', body: strict({ products: z.array(product) }), headers: cached, example: { products: [exampleProduct] } },
      304: { description: 'Unchanged since the version in If-None-Match', headers: cached },
    },
  },
  getProduct: {
    method: 'GET',
    path: '/products/{sku}',
    summary: 'One product',
    auth: 'none',
    params: z.object({ sku }),
    responses: {
      200: { description: 'The product', body: product, headers: cached, example: exampleProduct },
      304: { description: 'Unchanged since the version in If-None-Match', headers: cached },
    },
    problems: { 404: ['unknown-sku'] },
  },
  placeOrder: {
    method: 'POST',
    path: '/orders',
    summary: 'Place an order; repeating it with the same Idempotency-Key gives the same answer',
    auth: 'user',
    idempotencyKey: true,
    body: strict({ items }),
    bodyExample: { items: [{ sku: 'airpods-4', quantity: 1 }] },
    // Room for 50 items, white space and all.
    maxBodyBytes: 16_384,
    responses: {
      201: { description: 'Confirmed', body: order, headers: { Location: 'Path of the order' }, example: exampleOrder },
      202: {
        description: 'Taken; credit is reserved as soon as the user service can be reached',
        body: order,
        headers: { Location: 'Path of the order' },
        example: pending,
      },
    },
    problems: {
      404: ['unknown-sku'],
      422: ['credit-exceeded', 'unknown-user'],
      429: ['too-many-open-orders', 'too-many-refused-orders'],
    },
  },
  listOrders: {
    method: 'GET',
    path: '/orders',
    summary: "The user's orders, newest first",
    auth: 'user',
    query: pageQuery,
    responses: {
      200: {
        description: 'A page',
        body: strict({ orders: z.array(order), nextCursor: z.string().optional() }),
        example: { orders: [exampleOrder], nextCursor: 'AZOgwnsRekSPDi08S1ppeA' },
      },
    },
  },
  getOrder: {
    method: 'GET',
    path: '/orders/{id}',
    summary: 'One order of the user',
    auth: 'user',
    params: orderId,
    responses: { 200: { description: 'The order', body: order, example: exampleOrder } },
    problems: { 404: ['unknown-order'] },
  },
  cancelOrder: {
    method: 'POST',
    path: '/orders/{id}/cancellation',
    summary: 'Cancel an order; may be repeated',
    auth: 'user',
    params: orderId,
    responses: {
      200: { description: 'Cancelled; its credit is back', body: order, example: { ...exampleOrder, state: 'cancelled' } },
      202: {
        description: 'Being cancelled; credit comes back as soon as the user service can be reached',
        body: order,
        example: { ...exampleOrder, state: 'cancelling' },
      },
    },
    problems: { 404: ['unknown-order'], 409: ['not-cancellable'] },
  },
  getOpenApi: openApiOperation,
  getOpenApiByName: openApiOperationOf('order'),
})
