import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createAdminServer } from '../../../services/chassis/server/admin.ts'
import type { Check, Health } from '../../../services/chassis/server/health.ts'
import { createHealth } from '../../../services/chassis/server/health.ts'
import { type Http, httpTo } from '../../support/http.ts'
import { testRuntime } from '../../support/runtime.ts'

const runtime = testRuntime()
let check: Check
let health: Health
let http: Http
let close: () => void

beforeAll(async () => {
  const current: Health = { live: () => health.live(), failing: () => health.failing(), drain: () => health.drain() }
  const server = createAdminServer(current, runtime.metrics)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  http = httpTo(`http://127.0.0.1:${(server.address() as { port: number }).port}`)
  close = () => {
    server.close()
    server.closeAllConnections()
  }
})
afterAll(() => close?.())
beforeEach(() => {
  check = async () => {}
  health = createHealth({ database: () => check(), keys: async () => {} }, 0)
})

const TEXT = 'text/plain; charset=utf-8'
const get = async (path: string, headers = {}) => {
  const { status, type, body } = await http('GET', path, { headers })
  return { status, type, body }
}

describe('GET /readyz', () => {
  test('is 200 when all checks pass', async () => {
    expect(await get('/readyz')).toEqual({ status: 200, type: TEXT, body: 'ok\n' })
  })

  test('is 503 and names the check that fails, without its reason', async () => {
    check = () => Promise.reject(new Error('password authentication failed for user "order"'))
    expect(await get('/readyz')).toEqual({ status: 503, type: 'application/json', body: { failing: ['database'] } })
  })

  test('is 503 while draining', async () => {
    health.drain()
    expect(await get('/readyz')).toEqual({ status: 503, type: 'application/json', body: { failing: ['draining'] } })
  })

  test('is 500 when a check breaks its promise, and the server lives on', async () => {
    health = {
      ...health,
      failing: () => {
        throw new Error('boom')
      },
    }
    expect(await get('/readyz')).toEqual({ status: 500, type: TEXT, body: 'failed\n' })
    expect((await get('/livez')).status).toBe(200)
  })
})

describe('GET /livez', () => {
  test('is 200, also while nothing else works', async () => {
    check = () => Promise.reject(new Error('down'))
    health.drain()
    expect(await get('/livez')).toEqual({ status: 200, type: TEXT, body: 'ok\n' })
  })
})

describe('GET /metrics', () => {
  test('gives the metrics in the format that the scraper asks for', async () => {
    runtime.metrics.counter('things_total', 'Things').inc(3)
    const plain = await get('/metrics')
    expect(plain).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' })
    expect(plain.body).toContain('\nthings_total 3\n')
    const open = await get('/metrics', { accept: 'application/openmetrics-text;version=1.0.0' })
    expect(open.type).toMatch(/^application\/openmetrics-text; version=1\.0\.0/)
    expect(open.body).toContain('\nthings_total 3\n')
    expect(open.body.endsWith('# EOF\n')).toBe(true)
  })
})

describe('anything else', () => {
  test('HEAD is as GET without the body', async () => {
    const reply = await http('HEAD', '/readyz')
    expect({ status: reply.status, type: reply.type, body: reply.body }).toEqual({ status: 200, type: TEXT, body: '' })
  })

  test('a query does not matter', async () => {
    expect((await get('/livez?verbose')).status).toBe(200)
  })

  test.each(['/', '/readyz/', '/LIVEZ', '/debug', '/metrics/x'])('%s is 404', async path => {
    expect(await get(path)).toEqual({ status: 404, type: TEXT, body: 'try /livez, /readyz or /metrics\n' })
  })

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('%s is 405', async method => {
    const reply = await http(method, '/readyz')
    expect({ status: reply.status, type: reply.type, allow: reply.headers.get('allow') }).toEqual({ status: 405, type: TEXT, allow: 'GET, HEAD' })
  })
})
