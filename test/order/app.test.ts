import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { type CryptoKey, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Operation } from '../../services/chassis/contract/contract.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { orderContract } from '../../services/order/contract.ts'
import { type Customer, type Shop, startShop } from '../shop/support/shop.ts'
import { REALM } from '../shop/support/user-service.ts'
import { expectProblem, type Reply } from '../support/http.ts'

const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]
const OPERATIONS = Object.values<Operation>(orderContract)
const pathOf = ({ path }: Operation) => path.replace('{sku}', 'airpods-4').replace('{id}', newId())
const nameOf = (operation: Operation) => [`${operation.method} ${operation.path}`, operation] as const

let shop: Shop
let customer: Customer

beforeAll(async () => {
  shop = await startShop()
  customer = await shop.user.newUser()
})
afterAll(() => shop?.close())

/** A request that the operation accepts. */
const askFor = ({ auth, body, bodyExample, idempotencyKey }: Operation) => ({
  ...(auth === 'user' && { token: customer.token }),
  ...(body && { json: bodyExample }),
  headers: { ...(idempotencyKey && { 'idempotency-key': newId() }) } as Record<string, string>,
})

const post = (raw: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  shop.order.http('POST', '/orders', {
    token: customer.token,
    raw,
    headers: { 'content-type': 'application/json', 'idempotency-key': newId(), ...headers },
  })

describe.each(OPERATIONS.map(nameOf))('%s', (_name, operation) => {
  const ask = (headers: Record<string, string>, query = '') => {
    const good = askFor(operation)
    return shop.order.http(operation.method, pathOf(operation) + query, { ...good, headers: { ...good.headers, ...headers } })
  }

  test('refuses an unknown query field, naming it', async () => {
    const reply = await ask({}, '?colour=red')
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'query.colour', message: 'is not a known field' }])
  })

  test('sends the security headers with an answer and with a problem', async () => {
    for (const reply of [await ask({}), await ask({}, '?colour=red')]) {
      expect(Object.fromEntries(reply.headers)).toMatchObject({
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
      })
      expect(reply.headers.has('x-powered-by')).toBe(false)
      expect(reply.headers.has('set-cookie')).toBe(false)
    }
  })

  test('refuses other methods, listing its own', async () => {
    const others = ['PUT', 'PATCH', 'DELETE']
    for (const method of others) {
      const reply = await shop.order.http(method, pathOf(operation), { token: customer.token })
      expectProblem(reply, 405, 'method-not-allowed')
      expect(reply.headers.get('allow')?.split(', ')).toContain(operation.method)
    }
  })
})

describe.each(OPERATIONS.filter(({ auth }) => auth === 'user').map(nameOf))('%s without a good token', (_name, operation) => {
  const withHeader = (authorization: string) => {
    const { token: _, ...good } = askFor(operation)
    return shop.order.http(operation.method, pathOf(operation), { ...good, headers: { ...good.headers, ...(authorization && { authorization }) } })
  }
  const claims = () => ({ sub: newId(), sid: newId(), jti: newId(), client_id: 'shop' })
  const signed = async (key: CryptoKey, typ: string, changes: Record<string, unknown> = {}) =>
    new SignJWT({ ...claims(), iss: REALM.issuer, aud: REALM.audience, ...changes })
      .setProtectedHeader({ alg: 'EdDSA', typ, kid: 'made-up' })
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(key)

  test('none is 401 with a bare challenge', async () => {
    const reply = await withHeader('')
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
  })

  test.each([
    ['another scheme', async () => 'Basic YTpi'],
    ['no token', async () => 'Bearer '],
    ['no JWT', async () => 'Bearer abc'],
    ['two tokens', async () => `Bearer ${customer.token} ${customer.token}`],
    ['a token with a changed claim', async () => `Bearer ${forged(customer.token)}`],
    ['a token without signature', async () => `Bearer ${new UnsecuredJWT(claims()).encode()}`],
    ['a token of a key that nobody published', async () => `Bearer ${await signed((await generateKeyPair('EdDSA')).privateKey, 'at+jwt')}`],
    ["a service's token", async () => `Bearer ${shop.user.workloadToken}`],
    ['a refresh token', async () => `Bearer ${customer.refreshToken}`],
    ['a token of 9,000 characters', async () => `Bearer ${'a'.repeat(9_000)}`],
  ])('%s is 401 with the error in the challenge', async (_case, header) => {
    const reply = await withHeader(await header())
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead", error="invalid_token"')
  })
})

/** The same header and signature around another user. */
function forged(token: string): string {
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), sub: newId() }
  return [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
}

describe('the order app', () => {
  test.each(['/', '/order', '/products//', '/reservations/1', '/livez', '/metrics', '/users', '/orders/a/b/c', '/..%2f'])(
    'has nothing at %s',
    async path => {
      expectProblem(await shop.order.http('GET', path, { token: customer.token }), 404, 'not-found')
    },
  )

  test.each([
    '/products/',
    '/orders/',
    '/products/%',
    '/products/%zz',
    '/products/%c3%28',
    '/orders/%00',
    '/orders/%ff/cancellation',
    `/products/${'a'.repeat(600)}`,
  ])('answers 4xx to the path %s', async path => {
    const { status, type } = await shop.order.http(path.endsWith('cancellation') ? 'POST' : 'GET', path, { token: customer.token })
    expect([400, 404]).toContain(status)
    expect(type).toBe('application/problem+json')
  })

  test('serves its contract', async () => {
    const reply = await shop.order.http('GET', '/openapi.json')
    expect({ status: reply.status, type: reply.type, cache: reply.headers.get('cache-control') }).toEqual({
      status: 200,
      type: 'application/json; charset=utf-8',
      cache: 'public, max-age=60',
    })
    expect(Object.keys(reply.body.paths)).toEqual([
      '/products',
      '/products/{sku}',
      '/orders',
      '/orders/{id}',
      '/orders/{id}/cancellation',
      '/openapi.json',
      '/openapi/order.json',
    ])
  })

  test("keeps users' answers and problems out of caches", async () => {
    for (const [method, path] of [
      ['GET', '/orders'],
      ['GET', `/orders/${newId()}`],
      ['GET', '/products/iphone-3'],
    ] as const) {
      const { headers } = await shop.order.http(method, path, { token: customer.token })
      expect(headers.get('cache-control')).toBe('no-store')
    }
    expect((await shop.order.place(customer.token, CABLE)).headers.get('cache-control')).toBe('no-store')
  })

  test('tells nothing internal when it fails, and logs the cause with the trace id', async () => {
    await shop.order.db.sql('alter table products rename to mislaid')
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const reply = await shop.order
      .http('GET', '/products', { headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` } })
      .finally(() => shop.order.db.sql('alter table mislaid rename to products'))
    expectProblem(reply, 500, 'internal')
    expect(JSON.stringify(reply.body)).not.toMatch(/mislaid|products|relation|select/)
    expect(shop.order.runtime.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        msg: 'request failed',
        trace_id: traceId,
        route: '/products',
        err: expect.objectContaining({ code: '42P01' }),
      }),
    )
  })
})

describe('the body of POST /orders', () => {
  test.each([
    ['empty', ''],
    ['no JSON', 'sku=usb-c-cable'],
    ['cut off', '{"items":[{"sku":"usb-c-cable"'],
    ['followed by more', '{"items":[]} {}'],
    ['null', 'null'],
    ['a number', '1'],
    ['a list', '[]'],
    ['an object without items', '{}'],
    ['with a member twice', '{"items":[],"items":[{"sku":"usb-c-cable","quantity":1}]}'],
    ['with a member twice, once escaped', '{"items":[{"sku":"usb-c-cable","s\\u006bu":"airpods-4","quantity":1}]}'],
    ['nested deeply', `{"items":${'['.repeat(5_000)}${']'.repeat(5_000)}}`],
    ['with a NUL', '{"items":[{"sku":"a\\u0000","quantity":1}]}'],
    ['with half a character', '{"items":[{"sku":"\\ud800","quantity":1}]}'],
    ['with a byte order mark', '\ufeff{"items":[{"sku":"usb-c-cable","quantity":1}]}'],
    ['with a number beyond all', '{"items":[{"sku":"usb-c-cable","quantity":1e999}]}'],
    ['with __proto__', '{"items":[{"sku":"usb-c-cable","quantity":1}],"__proto__":{"admin":true}}'],
  ])('%s is 400', async (_name, raw) => {
    expectProblem(await post(raw), 400, 'invalid-request')
  })

  test('that is not UTF-8 is 400', async () => {
    expectProblem(await post(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])), 400, 'invalid-request')
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=latin1', 'application/jsonp', 'multipart/form-data'])(
    'of type %s is 415',
    async type => {
      const reply = await post(JSON.stringify({ items: CABLE }), { 'content-type': type })
      expectProblem(reply, 415, 'unsupported-media-type')
      expect(reply.headers.get('accept')).toBe('application/json')
    },
  )

  test('over its limit is 413', async () => {
    const { maxBodyBytes } = orderContract.placeOrder
    const body = JSON.stringify({ items: CABLE })
    expect((await post(body.padEnd(maxBodyBytes))).status).toBeLessThan(300)
    expectProblem(await post(body.padEnd(maxBodyBytes + 1)), 413, 'body-too-large')
  })

  test('that does not end is 408', async () => {
    const socket = connect(shop.order.port, '127.0.0.1')
    socket.write(
      `POST /orders HTTP/1.1\r\nhost: order\r\nauthorization: Bearer ${customer.token}\r\ncontent-type: application/json\r\nidempotency-key: slow\r\ncontent-length: 100\r\n\r\n{"items":`,
    )
    const answer = await text(socket)
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
    expect(answer).toContain('"code":"request-timeout"')
    expect(await shop.order.db.sql("select 1 from idempotency_keys where key = 'slow'")).toEqual([])
  })

  test('names all wrong fields at once', async () => {
    const reply = await post('{"items":[{"sku":"A","quantity":0},{"sku":"usb-c-cable"}],"note":""}')
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors.map(({ field }: { field: string }) => field).sort()).toEqual([
      'body.items.0.quantity',
      'body.items.0.sku',
      'body.items.1.quantity',
      'body.note',
    ])
  })
})

describe('whatever is sent', () => {
  const never5xx = ({ status, type }: Reply) => {
    expect(status).toBeLessThan(500)
    if (status >= 400) expect(type).toBe('application/problem+json')
  }
  const line = fc.record({
    sku: fc.oneof(fc.constant('usb-c-cable'), fc.string({ unit: 'binary' }), fc.anything()),
    quantity: fc.oneof(fc.integer({ min: -1, max: 1_002 }), fc.double(), fc.anything()),
  })
  const json = fc.oneof(fc.jsonValue(), fc.record({ items: fc.oneof(fc.array(line, { maxLength: 55 }), fc.jsonValue()) }, { requiredKeys: [] }))

  test('as JSON to POST /orders is answered below 500', async () => {
    await fc.assert(
      fc.asyncProperty(json, async value => never5xx(await post(toText(value)))),
      { numRuns: 150 },
    )
  })

  test('as bytes to POST /orders is answered below 500', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async bytes => never5xx(await post(new Uint8Array(bytes)))),
      { numRuns: 50 },
    )
  })

  test('as a path is answered below 500', async () => {
    const segment = fc.string({ unit: 'grapheme', maxLength: 80 }).map(value => encodeURIComponent(value.toWellFormed()))
    const path = fc.tuple(fc.constantFrom('/products/', '/orders/', '/orders?cursor=', '/orders?limit=', '/'), segment).map(parts => parts.join(''))
    await fc.assert(
      fc.asyncProperty(path, async value => never5xx(await shop.order.http('GET', value, { token: customer.token }))),
      { numRuns: 150 },
    )
  })

  test('as headers is answered below 500', async () => {
    const value = fc.string({
      unit: fc.oneof(fc.integer({ min: 0x21, max: 0x7e }), fc.integer({ min: 0xa0, max: 0xff })).map(code => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 300,
    })
    const name = fc.constantFrom('idempotency-key', 'if-none-match', 'traceparent', 'tracestate', 'x-forwarded-for', 'accept')
    await fc.assert(
      fc.asyncProperty(name, value, async (header, content) => {
        never5xx(await shop.order.http('GET', '/products/airpods-4', { headers: { [header]: content } }))
        never5xx(await post(JSON.stringify({ items: [{ sku: 'iphone-3', quantity: 1 }] }), { [header]: content }))
      }),
      { numRuns: 60 },
    )
  })

  const toText = (value: unknown) => JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? String(member) : member)) ?? ''
})

describe('the log', () => {
  test('has neither tokens nor keys nor e-mail addresses, whatever fails', async () => {
    const { email, password, token, refreshToken } = await shop.user.newUser()
    const key = 'private-key-of-the-caller'
    const { order, proxy } = shop
    const linesBefore = order.runtime.lines.length

    const placed = await order.place(token, CABLE, key)
    await order.place(token, CABLE, key)
    await order.place(token, [{ sku: 'iphone-17-pro', quantity: 1 }], key)
    await order.place(token, [{ sku: email, quantity: 1 }], `${key}-2`)
    await order.place(`${token}x`, CABLE, key)
    await order.http('GET', `/orders?cursor=${email}`, { token })
    await order.http('GET', `/${email}/${token}`, { token })
    for (const behaviour of ['drop', { status: 401, code: 'unauthorized' }, { status: 400, code: 'invalid-request' }] as const) {
      proxy.behave(behaviour)
      await order.place(token, CABLE, `${key}-${JSON.stringify(behaviour)}`)
    }
    await order.http('POST', `/orders/${placed.body.id}/cancellation`, { token })
    proxy.behave('pass')
    // Postgres quotes the whole row in the detail of this error.
    await order.db.sql("alter table idempotency_keys add constraint no_key check (key not like '%-refused')")
    expectProblem(await order.place(token, CABLE, `${key}-refused`), 500, 'internal')
    await order.db.sql('drop table if exists spare; alter table outbox rename to spare')
    await order.place(token, CABLE, `${key}-3`)
    await vi.waitFor(() => expect(order.runtime.lines.slice(linesBefore)).toContainEqual(expect.objectContaining({ msg: 'outbox cannot be read' })))
    await order.db.sql('alter table spare rename to outbox')

    const lines = order.runtime.lines.slice(linesBefore).map(line => JSON.stringify(line))
    const spans = order.runtime.spans
      .getFinishedSpans()
      .map(({ name, attributes, events, status }) => JSON.stringify({ name, attributes, events, status }))
    expect(lines.filter(line => line.includes('"level":"error"')).length).toBeGreaterThan(2)
    const secrets = [email, password, token, token.split('.')[2], refreshToken, shop.user.workloadToken, key, 'Bearer '] as string[]
    for (const secret of secrets) {
      expect(lines.filter(line => line.includes(secret))).toEqual([])
      expect(spans.filter(span => span.includes(secret))).toEqual([])
    }
  })

  test('has one line a request with route, status, code and trace id, and not the raw path', async () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    await shop.order.http('GET', '/products/iphone-3', { headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } })
    const lines = shop.order.runtime.lines.filter(line => line.trace_id === traceId)
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'warn',
        service: 'order',
        msg: 'request',
        method: 'GET',
        route: '/products/{sku}',
        status: 404,
        code: 'unknown-sku',
        duration_ms: expect.any(Number),
      }),
    ])
    expect(JSON.stringify(lines)).not.toContain('iphone-3')
  })
})
