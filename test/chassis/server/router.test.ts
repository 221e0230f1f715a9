import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { createRouter } from '../../../services/chassis/server/router.ts'
import { expectProblem } from '../../support/http.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const responses = { 204: { description: 'Done' } }
const params = z.object({ id: z.string() })
const contract = defineContract({
  list: { method: 'GET', path: '/things', summary: 'List', auth: 'none', responses },
  add: { method: 'POST', path: '/things', summary: 'Add', auth: 'none', responses },
  newest: { method: 'GET', path: '/things/newest', summary: 'Newest', auth: 'none', responses },
  get: { method: 'GET', path: '/things/{id}', summary: 'Get', auth: 'none', params, responses },
  remove: { method: 'DELETE', path: '/things/{id}', summary: 'Remove', auth: 'none', params, responses },
  cancel: { method: 'POST', path: '/things/{id}/cancellation', summary: 'Cancel', auth: 'none', params, responses },
})

describe('createRouter', () => {
  const match = createRouter(contract)

  test.each([
    ['GET', '/things', 'list', {}],
    ['HEAD', '/things', 'list', {}],
    ['POST', '/things', 'add', {}],
    ['GET', '/things/newest', 'newest', {}],
    ['DELETE', '/things/newest', 'remove', { id: 'newest' }],
    ['GET', '/things/', 'get', { id: '' }],
    ['GET', '/things/7', 'get', { id: '7' }],
    ['HEAD', '/things/7', 'get', { id: '7' }],
    ['DELETE', '/things/7', 'remove', { id: '7' }],
    ['POST', '/things/7/cancellation', 'cancel', { id: '7' }],
    ['GET', '/things/a%20b', 'get', { id: 'a b' }],
    ['GET', '/things/a%2Fb', 'get', { id: 'a/b' }],
    ['GET', '/things/caf%C3%A9', 'get', { id: 'café' }],
    ['GET', `/things/${'a'.repeat(500)}`, 'get', { id: 'a'.repeat(500) }],
  ])('%s %s is %s', (method, path, operationId, params) => {
    const found = match(method, path)
    expect(found).toMatchObject({ operationId, allow: [] })
    expect(found.operation).toBe(contract[operationId as keyof typeof contract])
    expect({ ...found.params }).toEqual(params)
  })

  test.each([
    ['PUT', '/things', ['GET', 'HEAD', 'POST']],
    ['PATCH', '/things/7', ['GET', 'HEAD', 'DELETE']],
    ['GET', '/things/7/cancellation', ['POST']],
    ['HEAD', '/things/7/cancellation', ['POST']],
    ['OPTIONS', '/things', ['GET', 'HEAD', 'POST']],
    ['PROPFIND', '/things', ['GET', 'HEAD', 'POST']],
  ])('%s %s is nothing, and the path allows %s', (method, path, allow) => {
    expect(match(method, path)).toEqual({ params: {}, allow })
  })

  test.each(['/', '', '*', '/thing', '/things/7/', '//things', '/THINGS', '/things/7/8', `/things/${'a'.repeat(501)}`])('GET %s is nowhere', path => {
    expect(match('GET', path)).toEqual({ params: {}, allow: [] })
  })

  test('gives an answer to any method and path', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('%', '%ff', '%00', '%2', '%zz', '%C3%28', '/', '//', '..', ';', '?', '#', '\\', 'things', 'newest'),
    )
    fc.assert(
      fc.property(fc.constantFrom('GET', 'HEAD', 'POST', 'LINK'), fc.array(piece), (method, pieces) => {
        expect(match(method, `/things/${pieces.join('')}`).allow).toBeInstanceOf(Array)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('matchRoute()', () => {
  let service: TinyService

  beforeAll(async () => {
    const done = async () => ({ status: 204 as const })
    service = await startTinyService(contract, { list: done, add: done, newest: done, get: done, remove: done, cancel: done })
  })
  afterAll(() => service?.close())

  test.each([
    '/things/%',
    '/things/%f',
    '/things/%zz',
    '/things/%ff',
    '/things/%C3%28',
    '/%',
    '/things/%00%',
    '//',
    '//%',
    '/things/%%%/cancellation',
    'http://%zz/',
    '*',
  ])('the malformed path %s is a 4xx and not a fault of ours', async path => {
    service.runtime.lines.length = 0
    const reply = await rawRequest(service.port, `GET ${path}`)
    expectProblem(reply, 404, 'not-found')
    expect(service.runtime.lines).toEqual([expect.objectContaining({ level: 'warn', status: 404 })])
  })
})
