import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Operation } from '../../services/chassis/contract/contract.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { userContract } from '../../services/user/contract.ts'
import { expectNoSecrets, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { type Ask, expectProblem, type Reply } from '../support/http.ts'

let user: TestUserService
let customer: Awaited<ReturnType<TestUserService['newUser']>>
/** It has no place for any request. */
let full: TestUserService

beforeAll(async () => {
  user = await startUserService()
  full = await startUserService({ replicaOf: user, maxConcurrency: 0 })
  customer = await user.newUser()
})
afterAll(async () => {
  await full?.close()
  await user?.close()
})

const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
}

const operations: [string, Operation][] = Object.entries(userContract)
const pathOf = (operation: Operation) => operation.path.replace('{orderId}', newId())
const tokenFor = ({ auth }: Operation) => ({ none: undefined, user: customer.token, workload: user.workloadToken })[auth]
const ask = (operation: Operation, more: Ask = {}): Promise<Reply> => {
  const token = tokenFor(operation)
  return user.http(operation.method, pathOf(operation), { ...(token !== undefined && { token }), ...more })
}
const sendJson = (operation: Operation, raw: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
  ask(operation, { raw, headers: { 'content-type': type } })

/** A request as no fetch would send it. */
function bareRequest(method: string, target: string, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: string }>((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port: user.port, method, path: target, headers }, async res => {
      resolve({ status: res.statusCode as number, headers: res.headers, body: await text(res) })
    })
    req.on('error', reject).end()
  })
}

describe('headers of every answer', () => {
  const answers: [string, () => Promise<Reply>][] = [
    ['a success', () => user.http('GET', '/users/me', { token: customer.token })],
    ['a creation', () => user.logIn(customer.email, customer.password)],
    ['an empty success', async () => user.http('DELETE', '/sessions/current', { token: (await user.newUser()).token })],
    ['keys', () => user.http('GET', '/.well-known/jwks.json')],
    ['400', () => user.http('POST', '/users', { json: {} })],
    ['401', () => user.http('GET', '/users/me')],
    ['404', () => user.http('GET', '/nowhere')],
    ['405', () => user.http('DELETE', '/users')],
    ['413', () => user.http('POST', '/users', { json: 'x'.repeat(70_000) })],
    ['415', () => user.http('POST', '/users', { raw: '{}' })],
    ['503', overloadedReply],
  ]

  test.each(answers)('%s has the security headers', async (_name, get) => {
    const { headers } = await get()
    expect(Object.fromEntries(headers)).toMatchObject(SECURITY_HEADERS)
    expect(headers.get('x-powered-by')).toBeNull()
    expect(headers.get('server')).toBeNull()
  })

  test.each(answers.filter(([name]) => name !== 'keys'))('%s is kept by no cache', async (_name, get) => {
    expect((await get()).headers.get('cache-control')).toBe('no-store')
  })

  test('tokens of a refresh are kept by no cache', async () => {
    const { refreshToken } = await user.newUser()
    const reply = await user.http('POST', '/sessions/refresh', { json: { refreshToken } })
    expect({ status: reply.status, cache: reply.headers.get('cache-control') }).toEqual({ status: 201, cache: 'no-store' })
  })

  test.each(['/.well-known/jwks.json', '/openapi.json'])('%s may be cached', async path => {
    expect((await user.http('GET', path)).headers.get('cache-control')).toBe('public, max-age=60')
  })

  test('every 401 carries a challenge', async () => {
    const closed = operations.filter(([, { auth }]) => auth !== 'none')
    expect(closed.length).toBeGreaterThan(5)
    for (const [, operation] of closed) {
      const reply = await user.http(operation.method, pathOf(operation))
      expectProblem(reply, 401, 'unauthorized')
      expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
    }
  })
})

const overloadedReply = (): Promise<Reply> => full.http('GET', '/users/me', { token: customer.token })

describe('the pipeline', () => {
  const seen = (route: string, status: number, method = 'GET') =>
    user.runtime.metric(
      `http_server_request_duration_seconds_count{http_request_method="${method}",http_route="${route}",http_response_status_code="${status}"}`,
    )

  test('counts and logs by route template what never reaches a handler', async () => {
    const { runtime } = user
    const [refused, orders, unknown] = [await seen('/users/me', 401), await seen('/reservations/{orderId}', 401, 'DELETE'), await seen('', 404)]
    const path = `/reservations/${newId()}`
    await user.http('GET', '/users/me')
    await user.http('DELETE', path)
    await user.http('GET', '/nowhere')
    expect(await seen('/users/me', 401)).toBe(refused + 1)
    expect(await seen('/reservations/{orderId}', 401, 'DELETE')).toBe(orders + 1)
    expect(await seen('', 404)).toBe(unknown + 1)
    expect(runtime.lines).toContainEqual(
      expect.objectContaining({ msg: 'request', method: 'DELETE', route: '/reservations/{orderId}', status: 401, code: 'unauthorized' }),
    )
    expect(JSON.stringify(runtime.lines)).not.toContain(path)
  })

  test('sheds load before anything is spent on a request, and counts it', async () => {
    const count = () => full.runtime.metric('http_server_shed_requests_total{reason="concurrency"}')
    const before = await count()
    const statements = () => full.runtime.spans.getFinishedSpans().filter(span => 'db.query.text' in span.attributes).length
    const queries = statements()
    const reply = await overloadedReply()
    expectProblem(reply, 503, 'overloaded')
    expect(reply.headers.get('retry-after')).toBe('1')
    expect(await count()).toBe(before + 1)
    expect(statements()).toBe(queries)
  })

  test("judges another service's deadline after its token and before its body", async () => {
    const ask = { json: [], headers: { 'x-request-timeout-ms': '0' } }
    const path = `/reservations/${newId()}`
    expectProblem(await user.http('PUT', path, ask), 401, 'unauthorized')
    const reply = await user.http('PUT', path, { ...ask, token: user.workloadToken })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([expect.objectContaining({ field: 'header.x-request-timeout-ms' })])
  })

  test('refuses a body that is announced as too large before it looks at the token', async () => {
    const reply = await user.http('PATCH', '/users/me', { json: { name: 'x'.repeat(70_000) } })
    expectProblem(reply, 413, 'body-too-large')
  })

  test('judges the token before the body', async () => {
    expectProblem(await user.http('PATCH', '/users/me', { raw: '{' }), 401, 'unauthorized')
    expectProblem(await user.http('PUT', '/reservations/not-an-id', { json: [] }), 401, 'unauthorized')
  })

  test('gives up when the deadline of a calling service is over', async () => {
    await user.db.sql('create or replace function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(5); return new; end $$')
    await user.db.sql('create trigger slow before insert on reservations for each row execute function slow()')
    const orderId = newId()
    const reply = await user.http('DELETE', `/reservations/${orderId}`, { token: user.workloadToken, headers: { 'x-request-timeout-ms': '200' } })
    await user.db.sql('drop trigger slow on reservations')
    expectProblem(reply, 504, 'deadline-exceeded')
    expect(await user.db.sql('select 1 from reservations where order_id = $1', [orderId])).toEqual([])
  })

  test('a defect is 500, tells nothing internal, and the log has its cause and trace id', async () => {
    const broken = await user.newUser()
    await user.db.sql("update users set password_hash = 'no hash of ours' where id = $1", [broken.id])
    const reply = await user.logIn(broken.email, broken.password)
    expectProblem(reply, 500, 'internal')
    expect(Object.keys(reply.body).sort()).toEqual(['code', 'detail', 'status', 'title', 'traceId', 'type'])
    expect(JSON.stringify(reply.body)).not.toMatch(/hash|argon2|PHC|at .*\.ts/)
    expect(user.runtime.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        msg: 'request failed',
        trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
        err: expect.objectContaining({ message: 'a stored password hash is not an argon2id PHC string' }),
      }),
    )
  })

  test('serves its contract as OpenAPI with every operation', async () => {
    const { status, body } = await user.http('GET', '/openapi.json')
    const ids = Object.values(body.paths as Record<string, Record<string, { operationId: string }>>).flatMap(path =>
      Object.values(path).map(({ operationId }) => operationId),
    )
    expect({ status, openapi: body.openapi, ids: ids.sort() }).toEqual({ status: 200, openapi: '3.1.0', ids: Object.keys(userContract).sort() })
  })
})

describe('paths and methods', () => {
  const paths = [...new Set(operations.map(([, { path }]) => path))]
  const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY', 'M-SEARCH']

  test.each(paths)('%s answers a method that it does not have with 405 and Allow', async path => {
    const own = operations.filter(([, operation]) => operation.path === path).map(([, { method }]) => method as string)
    const allow = own.flatMap(method => (method === 'GET' ? ['GET', 'HEAD'] : [method])).sort()
    for (const method of METHODS.filter(method => !own.includes(method))) {
      const { status, headers, body } = await bareRequest(method, path.replace('{orderId}', newId()))
      expect({ method, status, type: headers['content-type'], code: JSON.parse(body).code }).toEqual({
        method,
        status: 405,
        type: 'application/problem+json',
        code: 'method-not-allowed',
      })
      expect((headers.allow as string).split(', ').sort(), method).toEqual(allow)
    }
  })

  test.each([
    '/',
    '/users/',
    '/USERS',
    '/users/me/',
    '/users/you',
    '/users/me/credit/more',
    '//users/me',
    '/users//me',
    '/users/./me',
    '/sessions/../users/me',
    '/%75sers/you',
    '/%',
    '/%ff',
    '/%00',
    '/users/me%00',
    '/users%2fme',
    '/users/me;a=b',
    '/reservations',
    `/reservations/${'a'.repeat(600)}`,
    '/.well-known',
    '/metrics',
    '/readyz',
    '*',
  ])('%s is 404 for any method', async target => {
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      const { status, headers, body } = await bareRequest(method, target)
      expect({ status, type: headers['content-type'], code: JSON.parse(body).code }).toEqual({
        status: 404,
        type: 'application/problem+json',
        code: 'not-found',
      })
    }
  })

  test.each(['?a', '?a=1&a=2', '?%', '?%ff=%fe', '?__proto__=1', '?a[b]=c', '?toString', `?${'a'.repeat(5_000)}`, '?x=%00', '?='])(
    'refuses the query %s at every operation',
    async query => {
      for (const [, operation] of operations) {
        const token = tokenFor(operation)
        const { status, headers, body } = await bareRequest(operation.method, pathOf(operation) + query, {
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        })
        expect({ status, type: headers['content-type'], code: JSON.parse(body).code }, operation.path).toEqual({
          status: 400,
          type: 'application/problem+json',
          code: 'invalid-request',
        })
      }
    },
  )

  test('takes an absolute target and an empty query', async () => {
    expect((await bareRequest('GET', 'http://elsewhere.example.org/.well-known/jwks.json')).status).toBe(200)
    expect((await bareRequest('GET', '/.well-known/jwks.json?')).status).toBe(200)
  })
})

const bodies: Record<string, Record<string, unknown>> = {
  register: { email: 'sweep@example.org', password: 'correct horse battery', name: 'Ada' },
  logIn: { email: 'sweep@example.org', password: 'correct horse battery' },
  refresh: { refreshToken: 'A'.repeat(43) },
  changeMe: { name: 'Ada' },
  changePassword: { oldPassword: 'correct horse battery', newPassword: 'staple of the battery' },
  reserveCredit: { userId: '0193a0c2-5a3e-7cc1-9d5e-6a1f0c2b4d10', total: { amount: 1, currency: 'EUR' } },
}

test('the sweep of bodies knows every operation that takes one', () => {
  const taking = operations.filter(([, { body }]) => body).map(([operationId]) => operationId)
  expect(Object.keys(bodies).sort()).toEqual(taking.sort())
})

describe.each(Object.entries(bodies))('the body of %s', (operationId, body) => {
  const operation: Operation = userContract[operationId as keyof typeof userContract]
  const [field] = Object.keys(body) as [string]
  const json = JSON.stringify(body)
  const withField = (value: string) => JSON.stringify({ ...body, [field]: '@' }).replace('"@"', () => value)
  const utf8 = (content: string) => new TextEncoder().encode(content)

  const limit = operation.maxBodyBytes as number
  const malformed: [string, string | Uint8Array<ArrayBuffer>][] = [
    ['empty', ''],
    ['blanks', '  \n'],
    ['cut short', json.slice(0, -1)],
    ['followed by more', `${json}{}`],
    ['with a comma too many', `${json.slice(0, -1)},}`],
    ['with a comment', `/* */${json}`],
    ['in single quotes', json.replaceAll('"', "'")],
    ['with a raw control character', withField('"a\u0001b"')],
    ['with an illegal escape', withField('"\\x41"')],
    ['no number', withField('NaN')],
    ['invalid UTF-8', new Uint8Array([...utf8('{"a":"'), 0xff, 0xfe, ...utf8('"}')])],
    ['overlong UTF-8', new Uint8Array([...utf8('{"a":"'), 0xc0, 0x80, ...utf8('"}')])],
    ['a surrogate in UTF-8', new Uint8Array([...utf8('{"a":"'), 0xed, 0xa0, 0x80, ...utf8('"}')])],
    ['after a byte order mark', new Uint8Array([0xef, 0xbb, 0xbf, ...utf8(json)])],
    ['with a member twice', `{${JSON.stringify(field)}:"x",${json.slice(1)}`],
    ['with a member twice, once escaped', `{"\\u00${field.charCodeAt(0).toString(16)}${field.slice(1)}":"x",${json.slice(1)}`],
    ['with a NUL', withField('"a\\u0000b"')],
    ['with a lone high surrogate', withField('"\\ud800"')],
    ['with a lone low surrogate', withField('"a\\udc00b"')],
    ['with a NUL in a name', `{"a\\u0000":1,${json.slice(1)}`],
    ['nested 17 deep', `${'['.repeat(17)}${']'.repeat(17)}`],
    ['nested as deep as its limit allows', `${'['.repeat(limit / 2)}${']'.repeat(limit / 2)}`],
    ['opened as often as its limit allows', '{"a":'.repeat(Math.floor(limit / 5))],
    ['a string that never ends', `"${'\\"'.repeat(limit / 2 - 1)}`],
    ['null', 'null'],
    ['true', 'true'],
    ['a number', '1'],
    ['a string', JSON.stringify(json)],
    ['an array', `[${json}]`],
    ['an empty object', '{}'],
    ['an empty array', '[]'],
    ['with a member that nobody knows', `{"isAdmin":true,${json.slice(1)}`],
    ['with __proto__', `{"__proto__":{"isAdmin":true},${json.slice(1)}`],
    ['with constructor', `{"constructor":{"prototype":{}},${json.slice(1)}`],
  ]

  test.each(malformed)('is 400 when it is %s', async (_name, raw) => {
    expectProblem(await sendJson(operation, raw), 400, 'invalid-request')
  })

  test.each(Object.keys(body))('is 400 and names %s when it is missing or of another type', async name => {
    for (const value of [undefined, null, 1, 1e308, true, [], ['x'], {}, { toString: 'x' }]) {
      const reply = await sendJson(operation, JSON.stringify({ ...body, [name]: value }))
      expectProblem(reply, 400, 'invalid-request')
      expect(reply.body.errors.map((error: { field: string }) => error.field.split('.').slice(0, 2).join('.'))).toContain(`body.${name}`)
    }
  })

  test.each([
    '',
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=latin1',
    'application/json, text/plain',
    'application/jsonp',
  ])('is 415 with the content type "%s"', async type => {
    const reply = await ask(operation, { raw: utf8(json), headers: type === '' ? {} : { 'content-type': type } })
    expectProblem(reply, 415, 'unsupported-media-type')
    expect(reply.headers.get('accept')).toBe('application/json')
  })

  test('is 413 over its limit, announced or not', async () => {
    const large = JSON.stringify({ ...body, [field]: 'x'.repeat(65_536) })
    expectProblem(await sendJson(operation, large), 413, 'body-too-large')
    const token = tokenFor(operation)
    const chunked = await fetch(user.url + pathOf(operation), {
      method: operation.method,
      headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
      body: new Blob([large]).stream(),
      duplex: 'half',
    } as RequestInit)
    expect({ status: chunked.status, type: chunked.headers.get('content-type'), code: JSON.parse(await chunked.text()).code }).toEqual({
      status: 413,
      type: 'application/problem+json',
      code: 'body-too-large',
    })
  })

  test('is judged up to its limit and not a byte more', async () => {
    const wrong = JSON.stringify({ ...body, [field]: 1 })
    expectProblem(await sendJson(operation, wrong.padEnd(limit)), 400, 'invalid-request')
    expectProblem(await sendJson(operation, wrong.padEnd(limit + 1)), 413, 'body-too-large')
  })
})

describe('headers of a request', () => {
  test.each([
    ['x-forwarded-for', 'not an address'],
    ['x-forwarded-for', ', ,'],
    ['x-forwarded-for', ':::::'],
    ['x-forwarded-for', 'f'.repeat(5_000)],
    ['traceparent', '00-zz-zz-01'],
    ['accept', 'image/png'],
    ['if-none-match', '"'],
  ])('%s: %s does no harm', async (name, value) => {
    expectProblem(await user.http('POST', '/sessions', { json: bodies.logIn, headers: { [name]: value } }), 401, 'bad-credentials')
  })

  test.each(['0', '1', '-1', '1.5', 'soon'])("a stranger's x-request-timeout-ms: %s is not believed", async value => {
    expect((await user.http('GET', '/.well-known/jwks.json', { headers: { 'x-request-timeout-ms': value } })).status).toBe(200)
    const me = await user.http('GET', '/users/me', { token: customer.token, headers: { 'x-request-timeout-ms': value } })
    expect(me.status).toBe(200)
  })

  test.each(['0', '-1', '1.5', '1e3', 'soon', '99999999999', '1, 2'])("another service's x-request-timeout-ms: %s is 400", async value => {
    const ask = { token: user.workloadToken, headers: { 'x-request-timeout-ms': value } }
    expectProblem(await user.http('DELETE', `/reservations/${newId()}`, ask), 400, 'invalid-request')
  })
})

describe('arbitrary JSON bodies are never answered with a 5xx', () => {
  const anyText = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.emailAddress(),
    fc.base64String({ maxLength: 60 }),
  )
  const anyValue = fc.oneof(anyText, fc.jsonValue({ maxDepth: 3 }))

  test.each([
    ['/users', ['email', 'password', 'name']],
    ['/sessions', ['email', 'password']],
    ['/sessions/refresh', ['refreshToken']],
  ])('POST %s', async (path, names) => {
    const near = fc.record(Object.fromEntries(names.map(name => [name, anyValue])), { requiredKeys: [] })
    await fc.assert(
      fc.asyncProperty(fc.oneof(near, fc.jsonValue({ stringUnit: 'binary' })), async json => {
        const { status, type } = await user.http('POST', path, { json })
        expect(status).toBeGreaterThanOrEqual(200)
        expect(status).toBeLessThan(500)
        if (status >= 400) expect(type).toBe('application/problem+json')
      }),
      { numRuns: 80 },
    )
  })
})

test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
