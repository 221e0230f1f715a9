import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

let service: TinyService

beforeAll(async () => {
  const responses = { 204: { description: 'Done' } }
  const contract = defineContract({
    get: { method: 'GET', path: '/plain', summary: 'Get', auth: 'none', responses },
    cached: { method: 'GET', path: '/cached', summary: 'May be kept', auth: 'none', responses },
    fail: { method: 'GET', path: '/fail', summary: 'Fail', auth: 'none', responses },
  })
  service = await startTinyService(contract, {
    get: async () => ({ status: 204 }),
    cached: async () => ({ status: 204, headers: { 'cache-control': 'no-cache' } }),
    fail: async () => {
      throw new Error('boom')
    },
  })
})
afterAll(() => service?.close())

const securityHeadersOf = async (path: string, headers: Record<string, string> = {}) => {
  const reply = await service.http('GET', path, { headers })
  return { status: reply.status, ...Object.fromEntries(Object.keys(HEADERS).map(name => [name, reply.headers.get(name)])) }
}

describe('securityHeaders()', () => {
  test.each([
    ['an answer', '/plain', 204],
    ['a 404', '/nowhere', 404],
    ['a 500', '/fail', 500],
  ])('stand on %s', async (_name, path, status) => {
    expect(await securityHeadersOf(path)).toEqual({ status, ...HEADERS })
  })

  test('stand on what the stages before the handler refuse', async () => {
    expect(await securityHeadersOf('/plain?colour=red')).toEqual({ status: 400, ...HEADERS })
  })

  test('leave Cache-Control to a handler that sets it', async () => {
    expect(await securityHeadersOf('/cached')).toEqual({ status: 204, ...HEADERS, 'cache-control': 'no-cache' })
  })
})
