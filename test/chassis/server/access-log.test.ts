import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { ProblemError } from '../../../services/chassis/server/problem.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
let service: TinyService
let outcome: number

beforeAll(async () => {
  const contract = defineContract({
    get: {
      method: 'GET',
      path: '/things/{id}',
      params: z.object({ id: z.string() }),
      summary: 'Get',
      auth: 'none',
      responses: { 200: { description: 'It', body: strict({ a: z.string() }) } },
      problems: { 404: ['unknown-thing'], 503: ['broken'] },
    },
  })
  service = await startTinyService(contract, {
    get: async () => {
      if (outcome === 404) throw new ProblemError(404, 'unknown-thing', 'No such thing')
      if (outcome === 503) throw new ProblemError(503, 'broken', 'Broken')
      return { status: 200, body: { a: 'é' } }
    },
  })
})
afterAll(() => service?.close())
beforeEach(() => {
  service.runtime.lines.length = 0
})

const accessLines = () => service.runtime.lines.filter(line => line.msg === 'request')

describe('accessLog()', () => {
  test.each([
    [200, 'info', undefined],
    [404, 'warn', 'unknown-thing'],
    [503, 'error', 'broken'],
  ])('writes one line a request, for %i at level %s', async (status, level, code) => {
    outcome = status
    const reply = await service.http('GET', '/things/secret', { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` } })
    expect(reply.status).toBe(status)
    expect(accessLines()).toEqual([
      {
        level,
        service: 'tiny',
        time: expect.any(String),
        msg: 'request',
        trace_id: TRACE,
        method: 'GET',
        route: '/things/{id}',
        status,
        ...(code && { code }),
        duration_ms: expect.any(Number),
        bytes: Number(reply.headers.get('content-length')),
      },
    ])
  })

  test.each([
    ['GET', '/hunter2', 404],
    ['GET', '/things/hunter2?token=hunter2', 400],
    ['DELETE', '/things/hunter2', 405],
  ])('does not write the path or the query of %s %s', async (method, path, status) => {
    await service.http(method, path, { headers: { authorization: 'hunter2', cookie: 'hunter2', 'x-any': 'hunter2' } })
    expect(accessLines()).toEqual([expect.objectContaining({ method, status })])
    expect(JSON.stringify(service.runtime.lines)).not.toContain('hunter2')
  })
})
