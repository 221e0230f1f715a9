import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { CallError } from '../../../services/chassis/contract/call-error.ts'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { deadlineExceeded, Failure, invalidRequest, overloaded, unavailable } from '../../../services/chassis/contract/failure.ts'
import { logStray, ProblemError, toProblem } from '../../../services/chassis/server/problem.ts'
import { expectProblem } from '../../support/http.ts'
import { testRuntime } from '../../support/runtime.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const headers = { traceparent: `00-${TRACE_ID}-00f067aa0ba902b7-01` }

let service: TinyService
let thrown: unknown

beforeAll(async () => {
  const contract = defineContract({
    fail: {
      method: 'GET',
      path: '/things/{id}',
      params: z.object({ id: z.string() }),
      summary: 'Fails',
      auth: 'none',
      responses: { 204: { description: 'Never' } },
      problems: { 418: ['teapot'] },
    },
  })
  service = await startTinyService(contract, {
    fail: async () => {
      throw thrown
    },
  })
})
afterAll(() => service?.close())

const failWith = async (error: unknown) => {
  thrown = error
  service.runtime.lines.length = 0
  const reply = await service.http('GET', '/things/7', { headers })
  return { reply, failures: service.runtime.lines.filter(line => line.msg === 'request failed') }
}

describe('new ProblemError', () => {
  test('becomes an RFC 9457 object with its further members', () => {
    expect(new ProblemError(422, 'credit-exceeded', 'Not enough', { extra: { orderId: '7' } }).toJSON()).toEqual({
      type: 'urn:problem:credit-exceeded',
      title: 'Credit exceeded',
      status: 422,
      detail: 'Not enough',
      code: 'credit-exceeded',
      orderId: '7',
    })
  })

  test('does not show its cause', () => {
    expect(JSON.stringify(new ProblemError(503, 'unavailable', 'Later', { cause: new Error('10.0.0.7 refused') }))).not.toContain('10.0.0.7')
  })
})

describe('invalidRequest', () => {
  test('names each field', () => {
    const problem = invalidRequest([
      { field: 'body.a', message: 'is missing' },
      { field: 'body.b', message: 'is too long' },
    ])
    expect(problem).toMatchObject({ kind: 'invalid', code: 'invalid-request', message: 'body.a is missing; body.b is too long' })
    expect(problem.options.extra?.errors).toHaveLength(2)
  })

  test('tells at most 20 fields and 1000 characters, whatever the caller sent', () => {
    const problem = invalidRequest(Array.from({ length: 500 }, (_, i) => ({ field: `body.${'f'.repeat(60)}-${i}`, message: 'is not a known field' })))
    expect(problem.options.extra?.errors).toHaveLength(20)
    expect(problem.message).toHaveLength(1_000)
  })
})

describe('toProblem', () => {
  test.each([new Error('boom'), 'text', 7, null, undefined, { status: 404, code: 'not-found' }])(
    'makes %o a 500 that keeps it as the cause',
    error => {
      expect(toProblem(error)).toMatchObject({ status: 500, code: 'internal', cause: error })
    },
  )

  test.each([
    ['timeout', 503, 'unavailable'],
    ['unreachable', 503, 'unavailable'],
    ['status-500', 503, 'unavailable'],
    ['deadline-exceeded', 504, 'deadline-exceeded'],
  ])('makes of a call that brought no answer (%s) a %i %s, which names nobody', (code, status, problemCode) => {
    const error = new CallError(code, 'user cannot be reached for reserveCredit')
    const problem = toProblem(error)
    expect(problem).toMatchObject({ status, code: problemCode, cause: error })
    expect(JSON.stringify(problem)).not.toContain('user')
  })

  test.each([
    ['invalid', 400],
    ['unauthenticated', 401],
    ['forbidden', 403],
    ['not-found', 404],
    ['conflict', 409],
    ['refused', 422],
    ['too-many', 429],
    ['internal', 500],
    ['unavailable', 503],
    ['deadline-exceeded', 504],
  ] as const)('gives a failure that is %s the status %i, and keeps its code, detail, members and cause', (kind, status) => {
    const cause = new Error('because')
    const problem = toProblem(new Failure(kind, 'a-code', 'A detail', { cause, extra: { orderId: '7' }, retryAfterSeconds: 3 }))
    expect(problem).toMatchObject({ status, code: 'a-code', message: 'A detail', cause, extra: { orderId: '7' } })
    expect(problem.headers['retry-after']).toBe('3')
  })

  test('challenges whoever is unauthenticated, and says of a token that it is not good', () => {
    expect(toProblem(new Failure('unauthenticated', 'a', 'A')).headers).toEqual({ 'www-authenticate': 'Bearer realm="fairlead"' })
    expect(toProblem(new Failure('unauthenticated', 'a', 'A', { invalidToken: true })).headers).toEqual({
      'www-authenticate': 'Bearer realm="fairlead", error="invalid_token"',
    })
  })

  test('leaves a problem as it is', () => {
    const problem = new ProblemError(418, 'teapot', 'Short and stout')
    expect(toProblem(problem)).toBe(problem)
  })
})

describe('problems()', () => {
  test('an unknown error is a 500 that tells nothing of it but what to look for in the log', async () => {
    const { reply } = await failWith(new Error('relation "secret_table" does not exist', { cause: new Error('10.0.0.7') }))
    expectProblem(reply, 500, 'internal')
    expect(reply.body).toEqual({
      type: 'urn:problem:internal',
      title: 'Internal',
      status: 500,
      detail: 'Something went wrong here; the log has it under this traceId',
      code: 'internal',
      traceId: TRACE_ID,
    })
  })

  test('the log has an unknown error with its cause, the trace id and the route template', async () => {
    const { failures } = await failWith(new Error('boom', { cause: new Error('because') }))
    expect(failures).toEqual([
      expect.objectContaining({
        level: 'error',
        trace_id: TRACE_ID,
        code: 'internal',
        route: '/things/{id}',
        err: expect.objectContaining({
          message: 'boom',
          stack: expect.stringContaining('problem.test.ts'),
          cause: expect.objectContaining({ message: 'because' }),
        }),
      }),
    ])
  })

  test('the log has the cause of a problem of our own, the caller does not', async () => {
    const { reply, failures } = await failWith(unavailable('The database cannot be reached', new Error('connect ECONNREFUSED 10.0.0.7')))
    expectProblem(reply, 503, 'unavailable')
    expect(reply.headers.get('retry-after')).toBe('1')
    expect(JSON.stringify(reply.body)).not.toContain('10.0.0.7')
    expect(failures).toEqual([
      expect.objectContaining({ code: 'unavailable', err: expect.objectContaining({ message: 'connect ECONNREFUSED 10.0.0.7' }) }),
    ])
  })

  test('a problem without a cause is logged itself', async () => {
    const { reply, failures } = await failWith(deadlineExceeded())
    expectProblem(reply, 504, 'deadline-exceeded')
    expect(failures).toEqual([expect.objectContaining({ err: expect.objectContaining({ name: 'Failure' }) })])
  })

  test.each([
    ['a 4xx', new ProblemError(418, 'teapot', 'Short and stout', { headers: { 'x-colour': 'white' } }), 418],
    ['overload', overloaded(), 503],
  ])('%s is not logged as a failure', async (_name, problem, status) => {
    const { reply, failures } = await failWith(problem)
    expectProblem(reply, status, problem.code)
    for (const [name, value] of Object.entries(toProblem(problem).headers)) expect(reply.headers.get(name)).toBe(value)
    expect(failures).toEqual([])
  })

  test.each(['text', undefined, null])('%o thrown is a 500 like any other', async error => {
    const { reply, failures } = await failWith(error)
    expectProblem(reply, 500, 'internal')
    expect(failures).toHaveLength(1)
  })
})

test.each([
  ['ECONNRESET', 'debug'],
  ['ERR_HTTP2_STREAM_ERROR', 'debug'],
  ['ERR_HTTP2_SESSION_ERROR', 'debug'],
  ['HPE_INVALID_CHUNK_SIZE', 'debug'],
  ['ERR_STREAM_WRITE_AFTER_END', 'error'],
])('%s outside of the stages is written as %s', (code, level) => {
  const { log, lines } = testRuntime()
  log.level = 'debug'
  logStray(log)(Object.assign(new Error('no'), { code }))
  expect(lines).toMatchObject([{ level }])
})
