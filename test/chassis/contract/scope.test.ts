import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { scopeWith, within } from '../../../services/chassis/contract/scope.ts'
import { testRuntime } from '../../support/runtime.ts'

const never = () => new Promise<never>(() => {})
const SPENT = { kind: 'deadline-exceeded', code: 'deadline-exceeded' }

describe('within', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const scopeOf = (budgetMs: number) => testRuntime().scope(budgetMs)

  test('gives the work what is left but the margin, and hands its result on', async () => {
    const scope = scopeOf(1_000)
    vi.advanceTimersByTime(100)
    expect(await within(scope, 200, async ({ deadline }) => deadline.remainingMs())).toBe(700)
  })

  test('leaves no timer of its own, whether the work succeeds or fails', async () => {
    const scope = scopeOf(1_000)
    await within(scope, 200, async () => {})
    await expect(within(scope, 200, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(vi.getTimerCount()).toBe(1)
  })

  test('ends with the margin, even when the work does not notice', async () => {
    const scope = scopeOf(1_000)
    const ended = within(scope, 200, never).catch(error => error)
    const running = Symbol('running')
    vi.advanceTimersByTime(799)
    expect(await Promise.race([ended, Promise.resolve(running)])).toBe(running)
    vi.advanceTimersByTime(1)
    expect(await ended).toMatchObject(SPENT)
    expect(scope.deadline.signal.aborted).toBe(false)
  })

  test("ends with the scope's deadline when its own timer is late", async () => {
    const controller = new AbortController()
    const scope = scopeOf(1_000)
    const inner = Promise.withResolvers<AbortSignal>()
    const ended = within({ ...scope, deadline: { ...scope.deadline, signal: controller.signal } }, 200, ({ deadline }) => {
      inner.resolve(deadline.signal)
      return never()
    })
    controller.abort(new Error('the whole time is spent'))
    await expect(ended).rejects.toThrow('the whole time is spent')
    expect((await inner.promise).reason).toEqual(new Error('the whole time is spent'))
  })

  test('does not begin what there is no time for', async () => {
    const scope = scopeOf(200)
    const work = vi.fn(never)
    await expect(within(scope, 200, work)).rejects.toMatchObject(SPENT)
    expect(work).not.toHaveBeenCalled()
  })
})

describe('scopeWith', () => {
  test('changes what it is told, and makes the log only for whoever writes to it', () => {
    const runtime = testRuntime()
    const made = vi.fn(() => runtime.log)
    const { deadline, span } = runtime.scope(1_000)
    const scope = {
      deadline,
      span,
      get log() {
        return made()
      },
    }
    const other = { ...deadline }
    const inner = scopeWith(scopeWith(scope, { deadline: other }), {})
    expect(inner.deadline).toBe(other)
    expect(inner.span).toBe(span)
    expect(made).not.toHaveBeenCalled()
    inner.log.info('said')
    expect(made).toHaveBeenCalledTimes(1)
    expect(runtime.lines).toMatchObject([{ msg: 'said' }])
  })
})
