import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createHealth } from '../../../services/chassis/server/health.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const pass = async () => {}
const fail = () => Promise.reject(new Error('down'))

describe('health.failing', () => {
  test('is empty when all checks pass or there are none', async () => {
    expect(await createHealth({}).failing()).toEqual([])
    expect(await createHealth({ database: pass, keys: pass }).failing()).toEqual([])
  })

  test('names every check that fails', async () => {
    expect(await createHealth({ database: fail, keys: pass, cache: fail }).failing()).toEqual(['database', 'cache'])
  })

  test('asks anew when the last answer is older than cacheMs, not before', async () => {
    const check = vi.fn(pass)
    const health = createHealth({ database: check }, 1_000)
    await health.failing()
    check.mockImplementation(fail)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await health.failing()).toEqual([])
    expect(check).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(await health.failing()).toEqual(['database'])
    check.mockImplementation(pass)
    expect(await health.failing()).toEqual(['database'])
    await vi.advanceTimersByTimeAsync(1_001)
    expect(await health.failing()).toEqual([])
    expect(check).toHaveBeenCalledTimes(3)
  })

  test('asks once for all probes that wait', async () => {
    const gate = Promise.withResolvers<void>()
    const check = vi.fn(() => gate.promise)
    const health = createHealth({ database: check })
    const answers = Promise.all([health.failing(), health.failing(), health.failing()])
    gate.resolve()
    expect(await answers).toEqual([[], [], []])
    expect(check).toHaveBeenCalledTimes(1)
  })

  test('asks all checks at once', async () => {
    const gate = Promise.withResolvers<void>()
    const second = vi.fn(pass)
    const answer = createHealth({ first: () => gate.promise, second }).failing()
    await vi.advanceTimersByTimeAsync(0)
    expect(second).toHaveBeenCalled()
    gate.resolve()
    expect(await answer).toEqual([])
  })
})

describe('health.drain', () => {
  test('makes it fail at once, without asking', async () => {
    const check = vi.fn(pass)
    const health = createHealth({ database: check })
    await health.failing()
    health.drain()
    await vi.advanceTimersByTimeAsync(5_000)
    expect(await health.failing()).toEqual(['draining'])
    expect(check).toHaveBeenCalledTimes(1)
  })
})

describe('health.live', () => {
  test('is true whatever checks say, also while draining', async () => {
    const health = createHealth({ database: fail })
    await health.failing()
    health.drain()
    expect(health.live()).toBe(true)
  })
})
