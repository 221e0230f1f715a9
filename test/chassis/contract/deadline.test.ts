import { getEventListeners } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { aborted, atMost, createDeadline, DEADLINE_HEADER, unlessAborted } from '../../../services/chassis/contract/deadline.ts'
import type { Failure } from '../../../services/chassis/contract/failure.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import { unauthorized } from '../../../services/chassis/identity/auth.ts'
import { requestBudgetMs } from '../../../services/chassis/server/deadline.ts'
import { expectProblem } from '../../support/http.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const MAX = 2_000

describe('requestBudgetMs', () => {
  test.each([
    [undefined, MAX],
    ['1', 1],
    ['0001', 1],
    ['1999', 1_999],
    ['2000', MAX],
    ['2001', MAX],
    ['9999999999', MAX],
  ])('%s is %s ms', (header, budgetMs) => {
    expect(requestBudgetMs(header, MAX)).toBe(budgetMs)
  })

  test.each(['0', '000', '-1', '+1', '1.5', '1e3', '0x10', 'abc', '', ' ', '1 ', '1, 2', '٣', '99999999999', 'NaN', 'Infinity'])(
    '%j is refused',
    header => {
      expect(() => requestBudgetMs(header, MAX)).toThrow(
        expect.objectContaining({
          kind: 'invalid',
          code: 'invalid-request',
          options: { extra: { errors: [{ field: `header.${DEADLINE_HEADER}`, message: 'is not a positive whole number of milliseconds' }] } },
        }),
      )
    },
  )
})

describe('createDeadline', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('counts down to 0 and no further', () => {
    const deadline = createDeadline(100)
    expect(deadline.remainingMs()).toBe(100)
    vi.advanceTimersByTime(30)
    expect(deadline.remainingMs()).toBe(70)
    vi.advanceTimersByTime(500)
    expect(deadline.remainingMs()).toBe(0)
  })

  test('aborts with a deadline-exceeded problem when the time is spent', () => {
    const { signal } = createDeadline(100)
    vi.advanceTimersByTime(99)
    expect(signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect(signal.reason).toMatchObject({ kind: 'deadline-exceeded', code: 'deadline-exceeded' })
  })

  test('can be tightened, counted from its beginning, and not widened', () => {
    const deadline = createDeadline(100)
    vi.advanceTimersByTime(30)
    deadline.tighten(50)
    expect(deadline.remainingMs()).toBe(20)
    deadline.tighten(90)
    expect(deadline.remainingMs()).toBe(20)
    vi.advanceTimersByTime(19)
    expect(deadline.signal.aborted).toBe(false)
    vi.advanceTimersByTime(1)
    expect(deadline.signal.aborted).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('counts from when its caller began to wait', () => {
    const startedAt = performance.now()
    vi.advanceTimersByTime(40)
    const deadline = createDeadline(100, startedAt)
    expect(deadline.remainingMs()).toBe(60)
    deadline.tighten(70)
    expect(deadline.remainingMs()).toBe(30)
    vi.advanceTimersByTime(31)
    expect(deadline.signal.aborted).toBe(true)
    const spent = createDeadline(10, startedAt)
    vi.advanceTimersByTime(1)
    expect(spent.signal.aborted).toBe(true)
  })

  test('that is tightened to what is spent already aborts at once', () => {
    const deadline = createDeadline(100)
    vi.advanceTimersByTime(30)
    deadline.tighten(10)
    expect(deadline.remainingMs()).toBe(0)
    vi.advanceTimersByTime(1)
    expect(deadline.signal.aborted).toBe(true)
  })

  test('does not abort once it is cleared, and leaves no timer', () => {
    const deadline = createDeadline(100)
    deadline.clear()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(200)
    expect(deadline.signal.aborted).toBe(false)
  })
})

describe('aborted', () => {
  test('rejects with the reason, also of a signal that has aborted', async () => {
    const controller = new AbortController()
    const before = aborted(controller.signal)
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(before).rejects.toBe(reason)
    await expect(aborted(controller.signal)).rejects.toBe(reason)
  })
})

describe('withDeadline()', () => {
  let service: TinyService
  const reasons: unknown[] = []
  let lateAnswer: Promise<unknown> | undefined

  beforeAll(async () => {
    const budget = strict({ remainingMs: z.number() })
    const contract = defineContract({
      budget: { method: 'GET', path: '/budget', summary: 'Tells the budget', auth: 'none', responses: { 200: { description: 'It', body: budget } } },
      hang: { method: 'GET', path: '/hang', summary: 'Hangs', auth: 'none', responses: { 204: { description: 'Never' } } },
      late: { method: 'GET', path: '/late', summary: 'Answers when it is too late', auth: 'none', responses: { 204: { description: 'Late' } } },
      last: { method: 'GET', path: '/last', summary: 'Answers at the last moment', auth: 'none', responses: { 204: { description: 'So far' } } },
    })
    service = await startTinyService(
      contract,
      {
        budget: async ({ scope }) => ({ status: 200, body: { remainingMs: scope.deadline.remainingMs() } }),
        hang: ({ scope }) => {
          scope.deadline.signal.addEventListener('abort', () => reasons.push(scope.deadline.signal.reason))
          return new Promise(() => {})
        },
        late: ({ scope }) => {
          const answer = aborted(scope.deadline.signal).catch(async () => {
            await new Promise(resolve => setTimeout(resolve, 20))
            return { status: 204 as const }
          })
          lateAnswer = answer
          return answer
        },
        last: ({ scope }) =>
          aborted(scope.deadline.signal).catch(async () => {
            // On its way up an answer passes many awaits, none of which waits for anything.
            for (let stage = 0; stage < 20; stage++) await undefined
            return { status: 204 as const }
          }),
      },
      { timeoutMs: MAX, deadlinesOf: 'everybody' },
    )
  })
  afterAll(() => service?.close())

  const ask = (path: string, budget: string) => service.http('GET', path, { headers: { [DEADLINE_HEADER]: budget } })

  test('answers 504 while the handler hangs, and the signal aborts with that problem as its reason', async () => {
    const reply = await ask('/hang', '30')
    expectProblem(reply, 504, 'deadline-exceeded')
    expect(reasons.map(reason => (reason as Failure).code)).toEqual(['deadline-exceeded'])
  })

  test('a handler that answers after the deadline changes nothing', async () => {
    expectProblem(await ask('/late', '30'), 504, 'deadline-exceeded')
    await lateAnswer
    expectProblem(await ask('/late', '30'), 504, 'deadline-exceeded')
  })

  test('a handler that answers at once when its time is spent is heard', async () => {
    expect((await ask('/last', '30')).status).toBe(204)
  })

  test('gives the handler what the caller has left', async () => {
    const { body } = await ask('/budget', '1500')
    expect(body.remainingMs).toBeGreaterThan(0)
    expect(body.remainingMs).toBeLessThanOrEqual(1_500)
  })

  test('clamps what is above the maximum', async () => {
    const { body } = await ask('/budget', '60000')
    expect(body.remainingMs).toBeGreaterThan(0)
    expect(body.remainingMs).toBeLessThanOrEqual(MAX)
  })

  test.each(['0', '-1', '1.5', 'abc'])('%s is 400', async header => {
    const reply = await ask('/budget', header)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([expect.objectContaining({ field: `header.${DEADLINE_HEADER}` })])
  })

  test('an empty header and two of them are 400', async () => {
    expectProblem(await rawRequest(service.port, 'GET /budget', [`${DEADLINE_HEADER}:`]), 400, 'invalid-request')
    expectProblem(await rawRequest(service.port, 'GET /budget', [`${DEADLINE_HEADER}: 10`, `${DEADLINE_HEADER}: 20`]), 400, 'invalid-request')
  })
})

describe("a caller's deadline", () => {
  const budget = strict({ remainingMs: z.number() })
  const responses = { 200: { description: 'It', body: budget } }
  const contract = defineContract({
    open: { method: 'GET', path: '/open', summary: 'Anybody', auth: 'none', responses },
    ofUser: { method: 'GET', path: '/user', summary: 'A user', auth: 'user', responses },
    ofWorkload: { method: 'GET', path: '/workload', summary: 'A service', auth: 'workload', responses },
  })
  const answer = async ({ scope }: { scope: Scope }) => ({ status: 200 as const, body: { remainingMs: scope.deadline.remainingMs() } })
  let service: TinyService

  beforeAll(async () => {
    const verifiers = {
      user: async () => ({ kind: 'user' as const, id: 'ada' }),
      workload: async (token: string) => {
        if (token !== 'good') throw unauthorized('No', 'invalid_token')
        return { kind: 'workload' as const, id: 'caller' }
      },
    }
    service = await startTinyService(contract, { open: answer, ofUser: answer, ofWorkload: answer }, { timeoutMs: MAX, verifiers })
  })
  afterAll(() => service?.close())

  const ask = (path: string, budgetMs: string, token = 'good') => service.http('GET', path, { token, headers: { [DEADLINE_HEADER]: budgetMs } })

  test.each(['/open', '/user'])('is not believed at %s, not even read', async path => {
    expect((await ask(path, '50')).body.remainingMs).toBeGreaterThan(500)
    expect((await ask(path, 'soon')).status).toBe(200)
  })

  test('is believed from a service whose token is good', async () => {
    expect((await ask('/workload', '300')).body.remainingMs).toBeLessThanOrEqual(300)
    expectProblem(await ask('/workload', 'soon'), 400, 'invalid-request')
    expectProblem(await ask('/workload', '1', 'bad'), 401, 'unauthorized')
  })
})

describe('unlessAborted', () => {
  const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

  test('gives the result, and leaves no listener behind', async () => {
    const { signal } = new AbortController()
    const work = Promise.withResolvers<string>()
    const result = unlessAborted(signal, work.promise)
    expect(listeners(signal)).toBe(1)
    work.resolve('done')
    expect(await result).toBe('done')
    expect(listeners(signal)).toBe(0)
  })

  test('leaves none behind when the work fails either', async () => {
    const { signal } = new AbortController()
    await expect(unlessAborted(signal, Promise.reject(new Error('broken')))).rejects.toThrow('broken')
    expect(listeners(signal)).toBe(0)
  })

  test.each(['before', 'meanwhile'])('rejects with the reason of a signal that aborts %s', async when => {
    const controller = new AbortController()
    const reason = new Error('enough')
    if (when === 'before') controller.abort(reason)
    const result = unlessAborted(controller.signal, new Promise(() => {}))
    controller.abort(reason)
    await expect(result).rejects.toBe(reason)
  })
})

describe('atMost', () => {
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length

  test('gives the result, and leaves no timer behind', async () => {
    const before = timers()
    expect(await atMost(60_000, Promise.resolve('done'))).toBe('done')
    expect(timers()).toBe(before)
    await expect(atMost(60_000, Promise.reject(new Error('broken')))).rejects.toThrow('broken')
    expect(timers()).toBe(before)
  })

  test('gives nothing once the time is over', async () => {
    expect(await atMost(1, new Promise(() => {}))).toBeUndefined()
  })
})
