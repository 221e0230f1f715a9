import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startOrderService, type TestOrderService } from '../shop/support/order-service.ts'
import { expectProblem } from '../support/http.ts'

const JSON_TYPE = 'application/json; charset=utf-8'

let order: TestOrderService

beforeAll(async () => {
  order = await startOrderService({ userHost: '127.0.0.1:1', workloadToken: 'none', awaitKeys: false, relay: false })
})
afterAll(() => order?.close())

const get = (path: string, ifNoneMatch?: string) => order.http('GET', path, { headers: ifNoneMatch ? { 'if-none-match': ifNoneMatch } : {} })

describe('GET /products', () => {
  test('lists the seeded products by SKU, an iPhone among them, without a token', async () => {
    const { status, type, body } = await get('/products')
    expect({ status, type }).toEqual({ status: 200, type: JSON_TYPE })
    const skus = body.products.map((product: { sku: string }) => product.sku)
    expect(skus).toEqual([...skus].sort())
    expect(body.products).toContainEqual({
      sku: 'iphone-17-pro',
      name: 'iPhone 17 Pro',
      description: 'Phone, 256 GB, silver',
      price: { amount: 129_900, currency: 'EUR' },
    })
  })

  test('has a new ETag when a product changes', async () => {
    const before = await get('/products')
    await order.db.sql("update products set description = 'Three metres, 240 W' where sku = 'usb-c-cable'")
    const after = await get('/products', before.headers.get('etag') as string)
    expect(after.status).toBe(200)
    expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'))
  })

  test('refuses a query', async () => {
    const reply = await get('/products?sort=price')
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'query.sort', message: 'is not a known field' }])
  })
})

describe('GET /products/{sku}', () => {
  test('gives one product', async () => {
    const { status, type, body } = await get('/products/airpods-4')
    expect({ status, type }).toEqual({ status: 200, type: JSON_TYPE })
    expect(body).toEqual({ sku: 'airpods-4', name: 'AirPods 4', description: 'Wireless earphones', price: { amount: 14_900, currency: 'EUR' } })
  })

  test('shows a changed price at once, with a new ETag', async () => {
    const before = await get('/products/phone-case')
    await order.db.sql("update products set price_amount = 3100 where sku = 'phone-case'")
    const after = await get('/products/phone-case', before.headers.get('etag') as string)
    expect(after.status).toBe(200)
    expect(after.body.price).toEqual({ amount: 3_100, currency: 'EUR' })
    expect(after.headers.get('etag')).not.toBe(before.headers.get('etag'))
  })

  test('an unknown SKU is 404', async () => {
    expectProblem(await get('/products/iphone-3'), 404, 'unknown-sku')
  })

  test.each(['IPHONE-17', '-case', `a${'b'.repeat(64)}`, 'caf%C3%A9', 'a_b', 'a%00b', 'a%2Fb'])('refuses the illegal SKU %s', async sku => {
    const reply = await get(`/products/${sku}`)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([expect.objectContaining({ field: 'path.sku' })])
  })

  test('takes a SKU of 64 characters', async () => {
    expectProblem(await get(`/products/a${'b'.repeat(63)}`), 404, 'unknown-sku')
  })
})

describe.each(['/products', '/products/airpods-4'])('If-None-Match at %s', path => {
  test('the answer carries a strong ETag and must be revalidated', async () => {
    const { headers } = await get(path)
    expect(headers.get('etag')).toMatch(/^"[\w-]+"$/)
    expect(headers.get('cache-control')).toBe('no-cache')
  })

  test.each([
    ['the same tag', (tag: string) => tag],
    ['the same tag, weak', (tag: string) => `W/${tag}`],
    ['a list with the tag', (tag: string) => `"other", W/"third" ,${tag}`],
    ['any', () => '*'],
  ])('%s is 304 with the ETag and no body', async (_name, toHeader) => {
    const tag = (await get(path)).headers.get('etag') as string
    const { status, headers, body } = await get(path, toHeader(tag))
    expect({ status, body, etag: headers.get('etag'), cache: headers.get('cache-control') }).toEqual({
      status: 304,
      body: '',
      etag: tag,
      cache: 'no-cache',
    })
  })

  test.each([
    ['another tag', () => '"other"'],
    ['the tag without quotes', (tag: string) => tag.slice(1, -1)],
    ['a tag that only begins with it', (tag: string) => `${tag.slice(0, -1)}0"`],
  ])('%s is 200', async (_name, toHeader) => {
    const tag = (await get(path)).headers.get('etag') as string
    expect((await get(path, toHeader(tag))).status).toBe(200)
  })
})

describe.each(['/products', '/products/airpods-4'])('HEAD %s', path => {
  test('has the headers of GET and no body', async () => {
    const full = await fetch(order.url + path)
    const bytes = (await full.arrayBuffer()).byteLength
    const head = await order.http('HEAD', path)
    expect({ status: head.status, type: head.type, body: head.body }).toEqual({ status: 200, type: JSON_TYPE, body: '' })
    expect(head.headers.get('etag')).toBe(full.headers.get('etag'))
    expect(head.headers.get('content-length')).toBe(String(bytes))
  })

  test('is 304 when nothing changed', async () => {
    const head = await order.http('HEAD', path, { headers: { 'if-none-match': '*' } })
    expect({ status: head.status, body: head.body }).toEqual({ status: 304, body: '' })
  })
})

test('HEAD of an unknown SKU is 404 without a body', async () => {
  const head = await fetch(`${order.url}/products/iphone-3`, { method: 'HEAD' })
  expect({ status: head.status, type: head.headers.get('content-type'), body: await head.text() }).toEqual({
    status: 404,
    type: 'application/problem+json',
    body: '',
  })
})
