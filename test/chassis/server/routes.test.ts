import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { id } from '../../../services/chassis/contract/ids.ts'
import { expectProblem } from '../../support/http.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const ID = '0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978'
const contract = defineContract({
  list: {
    method: 'GET',
    path: '/things',
    summary: 'List',
    auth: 'none',
    query: strict({ limit: z.string().regex(/^\d+$/, 'is not a number').transform(Number).optional() }),
    responses: {
      200: { description: 'Things', body: strict({ limit: z.number().optional() }), headers: { ETag: 'Version' } },
      304: { description: 'Unchanged' },
    },
  },
  add: {
    method: 'POST',
    path: '/things',
    summary: 'Add',
    auth: 'none',
    idempotencyKey: true,
    body: strict({ name: z.string(), tags: z.array(strict({ text: z.string() })) }),
    responses: { 201: { description: 'Added', body: strict({ key: z.string(), name: z.string() }), headers: { Location: 'Path' } } },
  },
  get: {
    method: 'GET',
    path: '/things/{id}',
    summary: 'Get',
    auth: 'none',
    params: z.object({ id }),
    responses: { 200: { description: 'The thing', body: strict({ id: z.string() }) } },
  },
  remove: {
    method: 'DELETE',
    path: '/things/{id}',
    summary: 'Remove',
    auth: 'none',
    params: z.object({ id }),
    responses: { 204: { description: 'Gone' } },
  },
})

let service: TinyService

beforeAll(async () => {
  service = await startTinyService(contract, {
    list: async ({ query, ifNoneMatch }) => {
      const headers: Record<string, string> = { etag: '"1"', 'cache-control': 'no-cache' }
      return ifNoneMatch === '"1"' ? { status: 304, headers } : { status: 200, body: query, headers }
    },
    add: async ({ body, idempotencyKey }) => ({ status: 201, body: { key: idempotencyKey, name: body.name }, headers: { location: '/things/7' } }),
    get: async ({ params }) => ({ status: 200, body: params }),
    remove: async () => ({ status: 204 }),
  })
})
afterAll(() => service?.close())

describe('routes()', () => {
  test('gives the handler the parsed parts and writes its answer', async () => {
    const reply = await service.http('POST', '/things', { json: { name: 'A', tags: [] }, headers: { 'idempotency-key': 'k1' } })
    expect({ status: reply.status, type: reply.type, body: reply.body, location: reply.headers.get('location') }).toEqual({
      status: 201,
      type: expect.stringMatching(/^application\/json\b/),
      body: { key: 'k1', name: 'A' },
      location: '/things/7',
    })
  })

  test('gives the query parsed, and its defaults where there is none', async () => {
    expect((await service.http('GET', '/things?limit=7')).body).toEqual({ limit: 7 })
    expect((await service.http('GET', '/things')).body).toEqual({})
  })

  test('an answer without a body has neither body nor content type', async () => {
    const reply = await service.http('DELETE', `/things/${ID}`)
    expect({ status: reply.status, type: reply.type, body: reply.body }).toEqual({ status: 204, type: '', body: '' })
  })

  test('304 keeps its headers and has no body', async () => {
    const reply = await service.http('GET', '/things', { headers: { 'if-none-match': '"1"' } })
    expect({ status: reply.status, type: reply.type, body: reply.body, etag: reply.headers.get('etag') }).toEqual({
      status: 304,
      type: '',
      body: '',
      etag: '"1"',
    })
  })

  test('HEAD is GET without the body', async () => {
    const get = await service.http('GET', '/things?limit=7')
    const head = await service.http('HEAD', '/things?limit=7')
    expect({ status: head.status, type: head.type, body: head.body, etag: head.headers.get('etag') }).toEqual({
      status: 200,
      type: get.type,
      body: '',
      etag: '"1"',
    })
    expect(head.headers.get('content-length')).toBe('11')
  })

  test('a path that does not exist is 404', async () => {
    expectProblem(await service.http('GET', '/nothing'), 404, 'not-found')
    expectProblem(await service.http('POST', `/things/${ID}/more`), 404, 'not-found')
  })

  test('HEAD of a path that does not exist is 404 without a body', async () => {
    const reply = await service.http('HEAD', '/nothing')
    expect({ status: reply.status, body: reply.body }).toEqual({ status: 404, body: '' })
  })

  test.each([
    ['PUT', '/things', 'GET, HEAD, POST'],
    ['OPTIONS', '/things', 'GET, HEAD, POST'],
    ['POST', `/things/${ID}`, 'GET, HEAD, DELETE'],
  ])('%s %s is 405 and names the methods of the path', async (method, path, allow) => {
    const reply = await service.http(method, path)
    expectProblem(reply, 405, 'method-not-allowed')
    expect(reply.headers.get('allow')).toBe(allow)
  })

  test.each([
    ['a field that a query does not have', 'GET', '/things?limit=1&colour=red', [{ field: 'query.colour', message: 'is not a known field' }]],
    ['a field twice', 'GET', '/things?limit=1&limit=2', [{ field: 'query.limit', message: 'Invalid input: expected string, received array' }]],
    ['a wrong field', 'GET', '/things?limit=x', [{ field: 'query.limit', message: 'is not a number' }]],
    ['__proto__ as a field', 'GET', '/things?__proto__=1', [{ field: 'query.__proto__', message: 'is not a known field' }]],
    [
      'fields where there is no query at all',
      'GET',
      `/things/${ID}?a=1&b=2`,
      [
        { field: 'query.a', message: 'is not a known field' },
        { field: 'query.b', message: 'is not a known field' },
      ],
    ],
    ['a field without a name', 'DELETE', `/things/${ID}?=1`, [{ field: 'query.', message: 'is not a known field' }]],
    ['a wrong path parameter', 'GET', '/things/7', [{ field: 'path.id', message: 'is not a UUIDv7 in lower case' }]],
    ['a path parameter with a NUL', 'GET', '/things/%00', [{ field: 'path.id', message: 'is not a UUIDv7 in lower case' }]],
  ])('%s is 400 and named', async (_name, method, path, errors) => {
    const reply = await service.http(method, path)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual(errors)
  })

  test.each(['?', '?&', '?&&'])('%s is no query', async query => {
    expect((await service.http('GET', `/things/${ID}${query}`)).status).toBe(200)
  })

  test('a long name is told in part', async () => {
    const reply = await service.http('GET', `/things/${ID}?${'n'.repeat(5_000)}=1`)
    expect(reply.body.errors).toEqual([{ field: `query.${'n'.repeat(100)}`, message: 'is not a known field' }])
  })

  test.each([
    ['unknown fields', { name: 'A', tags: [], colour: 'red', size: 7 }, ['body.colour', 'body.size']],
    ['an unknown field deep inside', { name: 'A', tags: [{ text: 'a' }, { text: 'b', colour: 'red' }] }, ['body.tags.1.colour']],
    ['missing fields', {}, ['body.name', 'body.tags']],
    ['a wrong field deep inside', { name: 'A', tags: [{ text: 7 }] }, ['body.tags.0.text']],
    ['a body of another kind', [], ['body']],
  ])('%s of a body are 400 and named', async (_name, json, fields) => {
    const reply = await service.http('POST', '/things', { json, headers: { 'idempotency-key': 'k1' } })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors.map((error: { field: string }) => error.field)).toEqual(fields)
  })

  test('a handler that returns nothing is a 500, and the log names it', async () => {
    const forgetful = await startTinyService({ get: contract.get }, { get: () => undefined as never })
    onTestFinished(forgetful.close)
    expectProblem(await forgetful.http('GET', `/things/${ID}`), 500, 'internal')
    const message = 'the handler of get returned nothing: it returns { status, body }'
    expect(forgetful.runtime.lines).toContainEqual(expect.objectContaining({ level: 'error', err: expect.objectContaining({ message }) }))
  })

  test('an operation that wants an Idempotency-Key refuses to go without', async () => {
    expectProblem(await service.http('POST', '/things', { json: { name: 'A', tags: [] } }), 400, 'idempotency-key-required')
  })

  test.each(['a b', 'ä', 'k'.repeat(256)])('the Idempotency-Key %s is 400', async key => {
    const reply = await service.http('POST', '/things', { json: { name: 'A', tags: [] }, headers: { 'idempotency-key': key } })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([expect.objectContaining({ field: 'header.idempotency-key' })])
  })
})

describe('the target of a request', () => {
  test.each(['http://[/', 'http://[::1/'])('%s is a 400 that the log and the metrics know', async target => {
    service.runtime.lines.length = 0
    const reply = await rawRequest(service.port, `GET ${target}`)
    expect(reply.status).toBe(400)
    expect(reply.type).toBe('application/problem+json')
    expect(service.runtime.lines.map(({ msg, status }) => [msg, status])).toEqual([['request', reply.status]])
  })

  test('that is no URL is named as the reason', async () => {
    expectProblem(await rawRequest(service.port, 'GET http://[/'), 400, 'malformed-request')
  })
})
