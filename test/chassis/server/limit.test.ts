import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLimit } from '../../../services/chassis/server/limit.ts'

let turnMs = 0
let waitMs = 0

beforeEach(() => {
  vi.useFakeTimers()
  turnMs = 0
  waitMs = 0
})
afterEach(() => void vi.useRealTimers())

const limitOf = (ceiling: number) => createLimit({ ceiling, waitMs: () => waitMs, turnMs: () => turnMs })

/** Says how many are in flight for some periods of 100 ms. */
function pass(limit: ReturnType<typeof limitOf>, periods: number, inFlight: number): number {
  for (let n = 0; n < periods; n++) {
    limit.use(inFlight)
    vi.advanceTimersByTime(100)
    limit.use(0)
  }
  return limit.current()
}

describe('the limit of requests in flight', () => {
  test('is the ceiling at first, and while nothing queues', () => {
    const limit = limitOf(200)
    expect(limit.current()).toBe(200)
    expect(pass(limit, 50, 200)).toBe(200)
    ;[turnMs, waitMs] = [10, 20]
    expect(pass(limit, 50, 200)).toBe(200)
  })

  test.each([
    ['turns of the event loop are long', 10.1, 0],
    ['work waits for a database connection', 0, 20.1],
  ])('shrinks by a tenth each 100 ms while %s, down to 40', (_why, turn, wait) => {
    const limit = limitOf(200)
    ;[turnMs, waitMs] = [turn, wait]
    expect(pass(limit, 1, 200)).toBe(180)
    expect(pass(limit, 1, 180)).toBe(162)
    expect(pass(limit, 50, 100)).toBe(40)
  })

  test.each([
    [15, 0, 133],
    [0, 40, 100],
    [1_000, 0, 100],
    [15, 80, 100],
  ])('shrinks the more the longer both are, by a half at most: %i ms and %i ms', (turn, wait, expected) => {
    const limit = limitOf(200)
    ;[turnMs, waitMs] = [turn, wait]
    expect(pass(limit, 1, 200)).toBe(expected)
  })

  test('judges no more often than each 100 ms', () => {
    const limit = limitOf(200)
    turnMs = 11
    vi.advanceTimersByTime(99)
    for (let n = 0; n < 10; n++) limit.use(200)
    expect(limit.current()).toBe(200)
    vi.advanceTimersByTime(1)
    for (let n = 0; n < 10; n++) limit.use(200)
    expect(limit.current()).toBe(180)
  })

  test('grows by a tenth where it is reached, and else by a fiftieth', () => {
    const limit = limitOf(200)
    turnMs = 50
    pass(limit, 50, 100)
    turnMs = 0
    expect(pass(limit, 1, 36)).toBe(44)
    expect(pass(limit, 10, 35)).toBe(53)
    expect(pass(limit, 50, 200)).toBe(200)
  })

  test('is the ceiling where that is below the floor', () => {
    const limit = limitOf(5)
    turnMs = 50
    expect(pass(limit, 10, 5)).toBe(5)
  })

  test('looks at this process by default', () => {
    const limit = createLimit({ ceiling: 100, waitMs: () => 0 })
    vi.advanceTimersByTime(100)
    limit.use(1)
    expect(limit.current()).toBeGreaterThan(0)
  })
})
