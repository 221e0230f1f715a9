import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import { type HousekeepingOptions, startHousekeeping } from '../../../services/chassis/data/housekeeping.ts'
import { testRuntime } from '../../support/runtime.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

function start(jobs: HousekeepingOptions['jobs'], intervalMs = 1_000) {
  const runtime = testRuntime()
  const { close } = startHousekeeping({ ...runtime, jobs, intervalMs })
  onTestFinished(close)
  return { close, runtime }
}

describe('startHousekeeping', () => {
  test('runs every job with every interval, one after the other', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    const ran: string[] = []
    const job = (name: string) => async () => {
      ran.push(`${name} begins`)
      await Promise.resolve()
      ran.push(`${name} ends`)
    }
    start({ a: job('a'), b: job('b') })
    await vi.advanceTimersByTimeAsync(999)
    expect(ran).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(ran).toEqual(['a begins', 'a ends', 'b begins', 'b ends'])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(ran).toHaveLength(8)
  })

  test.each([
    [0, 800],
    [1, 1_200],
  ])('jitters the interval: a draw of %d makes 1000 ms %d', async (draw, intervalMs) => {
    vi.spyOn(Math, 'random').mockReturnValue(draw)
    const job = vi.fn(async () => {})
    start({ job })
    await vi.advanceTimersByTimeAsync(intervalMs - 1)
    expect(job).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    expect(job).toHaveBeenCalledOnce()
  })

  test('a job that fails is logged, keeps no other from running and comes again', async () => {
    const failing = vi.fn(() => Promise.reject(new Error('no database')))
    const other = vi.fn(async () => {})
    const { runtime } = start({ failing, other })
    await vi.advanceTimersByTimeAsync(1_200)
    expect(other).toHaveBeenCalledOnce()
    expect(runtime.lines).toEqual([
      expect.objectContaining({
        level: 'warn',
        msg: 'housekeeping failed',
        job: 'failing',
        err: expect.objectContaining({ message: 'no database' }),
      }),
    ])
    await vi.advanceTimersByTimeAsync(1_200)
    expect(failing.mock.calls.length).toBeGreaterThan(1)
  })

  test('gives each job half a minute and a span of its own', async () => {
    const hang = vi.fn((_scope: Scope) => new Promise(() => {}))
    const { runtime, close } = start({ hang })
    await vi.advanceTimersByTimeAsync(1_200)
    await close()
    const signal = hang.mock.calls[0]?.[0].deadline.signal
    expect(signal?.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(29_000)
    expect(signal?.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(signal?.aborted).toBe(true)
    const quick = start({ purge: async () => {} })
    await vi.advanceTimersByTimeAsync(1_200)
    expect(quick.runtime.spans.getFinishedSpans().map(span => span.name)).toContain('housekeeping purge')
    expect(runtime.spans.getFinishedSpans()).toEqual([])
  })

  test('leaves no timer after a job', async () => {
    const { close } = start({ job: async () => {} })
    await vi.advanceTimersByTimeAsync(1_200)
    await close()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('ends with close()', async () => {
    const job = vi.fn(async () => {})
    const { close } = start({ job })
    await close()
    await vi.advanceTimersByTimeAsync(10_000)
    expect(job).not.toHaveBeenCalled()
  })
})
