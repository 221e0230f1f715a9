import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createThrottle } from '../../../services/chassis/client/throttle.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Evenly spread over 0 to 1. */
function evenly(): () => number {
  let n = 0
  return () => (n++ * 0.618_033_988_749) % 1
}

/** @returns how many of `count` calls were made */
function call(throttle: ReturnType<typeof createThrottle>, count: number, isAccepted: (n: number) => boolean): number {
  let made = 0
  for (let n = 0; n < count; n++) {
    if (!throttle.allow()) continue
    made++
    throttle.settled(!isAccepted(made - 1))
  }
  return made
}

test('every call is made while half of them or more are accepted', () => {
  const throttle = createThrottle(() => 0)
  expect(call(throttle, 1_000, n => n % 2 === 0)).toBe(1_000)
})

test('of a callee that has room for a quarter of the calls, about half are made', () => {
  const throttle = createThrottle(evenly())
  // Each hundred calls it has room for 25.
  for (let warmUp = 0; warmUp < 20; warmUp++) call(throttle, 100, n => n < 25)
  let made = 0
  for (let round = 0; round < 50; round++) made += call(throttle, 100, n => n < 25)
  expect(made / 50).toBeGreaterThan(40)
  expect(made / 50).toBeLessThan(60)
})

test('of one that accepts none a few are made, and all soon after it accepts again', () => {
  const throttle = createThrottle(evenly())
  expect(call(throttle, 1_000, () => false)).toBeLessThan(20)
  vi.advanceTimersByTime(10_000)
  expect(call(throttle, 100, () => true)).toBe(100)
})

test('calls that are not answered yet are no refusals', () => {
  const throttle = createThrottle(() => 0)
  for (let n = 0; n < 1_000; n++) expect(throttle.allow()).toBe(true)
})

test('what was longer ago than ten seconds counts no more', () => {
  const throttle = createThrottle(() => 0)
  throttle.settled(true)
  expect(throttle.allow()).toBe(false)
  vi.advanceTimersByTime(5_000)
  expect(throttle.allow()).toBe(false)
  vi.advanceTimersByTime(10_000)
  expect(throttle.allow()).toBe(true)
})
