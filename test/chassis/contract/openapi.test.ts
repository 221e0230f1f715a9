import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { problemCodes } from '../../../services/chassis/contract/openapi.ts'
import { desk, stock } from '../../support/journey-services.ts'
import { describeDocument, documentOf } from '../../support/openapi-facts.ts'

for (const { name, contract } of [desk, stock]) describeDocument(name, contract)

describe('openApi', () => {
  const contract = defineContract({
    list: {
      method: 'GET',
      path: '/things',
      summary: 'List',
      auth: 'none',
      query: strict({ limit: z.string().optional(), of: z.string() }),
      responses: { 304: { description: 'Unchanged', headers: { ETag: 'Version' } } },
    },
    add: {
      method: 'POST',
      path: '/things',
      summary: 'Add',
      auth: 'workload',
      idempotencyKey: true,
      body: strict({ n: z.int() }),
      responses: { 201: { description: 'Added' } },
      problems: { 409: ['taken'], 429: ['too-many'] },
    },
  })
  const { get, post } = documentOf(contract).paths['/things']

  test('keeps two methods of one path', () => {
    expect([get.operationId, post.operationId]).toEqual(['list', 'add'])
  })

  test('tells which query parameters are required', () => {
    expect(get.parameters).toEqual([
      { name: 'limit', in: 'query', required: false, schema: { type: 'string' } },
      { name: 'of', in: 'query', required: true, schema: { type: 'string' } },
    ])
  })

  test('asks for an Idempotency-Key and names the header of a replay', () => {
    expect(post.parameters).toEqual([expect.objectContaining({ name: 'Idempotency-Key', in: 'header', required: true })])
    expect(post.responses[201].headers).toHaveProperty('Idempotency-Replayed')
    expect(get.responses[304].headers).toEqual({ ETag: { description: 'Version', schema: { type: 'string' } } })
  })

  test('joins the codes of the chassis with those of the contract', () => {
    expect(problemCodes(contract.add)).toEqual({
      400: ['invalid-request', 'idempotency-key-required'],
      401: ['unauthorized'],
      403: ['forbidden'],
      408: ['request-timeout'],
      409: ['idempotency-conflict', 'taken'],
      413: ['body-too-large'],
      415: ['unsupported-media-type'],
      422: ['idempotency-key-reused'],
      429: ['too-many-requests', 'too-many'],
      431: ['headers-too-large'],
      500: ['internal'],
      503: ['overloaded', 'unavailable'],
      504: ['deadline-exceeded'],
    })
    expect(Object.keys(problemCodes(contract.list))).toEqual(['400', '429', '431', '500', '503', '504'])
  })

  test('names the headers that problems carry', () => {
    expect(post.responses[401].headers).toHaveProperty('WWW-Authenticate')
    expect(post.responses[429].headers).toHaveProperty('Retry-After')
    expect(post.responses[503].headers).toHaveProperty('Retry-After')
  })

  test('refuses unknown members of a body in its schema too', () => {
    expect(post.requestBody).toMatchObject({
      required: true,
      content: { 'application/json': { schema: { additionalProperties: false, required: ['n'] } } },
    })
    expect(post.requestBody.content['application/json'].schema).not.toHaveProperty('$schema')
  })
})
