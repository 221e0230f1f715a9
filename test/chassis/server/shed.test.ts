import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { expectProblem } from '../../support/http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

let service: TinyService
let release: () => void
let held: Promise<void>

beforeAll(async () => {
  const responses = { 204: { description: 'Done' } }
  const contract = defineContract({
    hold: { method: 'GET', path: '/hold', summary: 'Held', auth: 'none', responses },
    fail: { method: 'GET', path: '/fail', summary: 'Fails', auth: 'none', responses },
    plain: { method: 'GET', path: '/plain', summary: 'At once', auth: 'none', responses },
  })
  service = await startTinyService(
    contract,
    {
      hold: async () => {
        await held
        return { status: 204 }
      },
      fail: async () => {
        throw new Error('boom')
      },
      plain: async () => ({ status: 204 }),
    },
    { maxConcurrency: 3, shedding: { maxPerSource: 2 }, trustedHops: 1 },
  )
})
afterAll(() => service?.close())
beforeEach(() => {
  ;({ promise: held, resolve: release } = Promise.withResolvers<void>())
})

const refused = (reason: string) => service.runtime.metric(`http_server_shed_requests_total{reason="${reason}"}`)
const inFlight = (count: number) => vi.waitFor(async () => expect(await service.runtime.metric('http_server_active_requests')).toBe(count))

describe('shed()', () => {
  const from = (address: string, path: string) => service.http('GET', path, { headers: { 'x-forwarded-for': address } })

  test('answers 429 to a source that has its share, and lets others in', async () => {
    const before = await refused('source')
    const holding = [from('192.0.2.1', '/hold'), from('192.0.2.1', '/hold')]
    await inFlight(2)
    const reply = await from('192.0.2.1', '/plain')
    expectProblem(reply, 429, 'too-many-requests')
    expect(reply.headers.get('retry-after')).toBe('1')
    expect(await refused('source')).toBe(before + 1)
    expect((await from('192.0.2.2', '/plain')).status).toBe(204)
    release()
    expect((await Promise.all(holding)).map(({ status }) => status)).toEqual([204, 204])
    expect((await from('192.0.2.1', '/plain')).status).toBe(204)
  })

  test('answers 503 overloaded above the limit, counts it, and lets in again', async () => {
    const before = await refused('concurrency')
    const holding = [from('192.0.2.1', '/hold'), from('192.0.2.1', '/hold'), from('192.0.2.2', '/hold')]
    await inFlight(3)
    for (let i = 0; i < 3; i++) {
      const reply = await service.http('GET', '/plain')
      expectProblem(reply, 503, 'overloaded')
      expect(reply.headers.get('retry-after')).toBe('1')
    }
    expect(await refused('concurrency')).toBe(before + 3)
    release()
    expect((await Promise.all(holding)).map(reply => reply.status)).toEqual([204, 204, 204])
    expect((await service.http('GET', '/plain')).status).toBe(204)
  })

  test('a request that fails gives its place back', async () => {
    for (let i = 0; i < 4; i++) expectProblem(await service.http('GET', '/fail'), 500, 'internal')
    expect((await service.http('GET', '/plain')).status).toBe(204)
  })

  test('what it refuses is not logged as a failure', async () => {
    const holding = [from('192.0.2.1', '/hold'), from('192.0.2.1', '/hold'), from('192.0.2.2', '/hold')]
    await inFlight(3)
    service.runtime.lines.length = 0
    await service.http('GET', '/plain')
    release()
    await Promise.all(holding)
    expect(service.runtime.lines.filter(({ route }) => route === '/plain')).toEqual([
      expect.objectContaining({ msg: 'request', status: 503, code: 'overloaded' }),
    ])
  })
})
