import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { openLoop } from '../../../scripts/journey/open-loop.ts'

beforeEach(() => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
})

describe('openLoop', () => {
  test.each([1, 12, 500])('begins %i a second, although none of them ends', async perSecond => {
    const begun: number[] = []
    const end = Promise.withResolvers<void>()
    const { stop } = openLoop(perSecond, async number => {
      begun.push(number)
      await end.promise
    })
    await vi.advanceTimersByTimeAsync(3_000)
    expect(begun).toEqual(Array.from({ length: 3 * perSecond }, (_, number) => number))
    end.resolve()
    await stop()
  })

  test('begins no more once it is stopped, and waits for what is under way', async () => {
    const end = Promise.withResolvers<void>()
    let begun = 0
    const { stop } = openLoop(10, async () => {
      begun++
      await end.promise
    })
    await vi.advanceTimersByTimeAsync(1_000)
    let stopped = false
    const stopping = stop().then(() => {
      stopped = true
    })
    await vi.advanceTimersByTimeAsync(10_000)
    expect([begun, stopped]).toEqual([10, false])
    end.resolve()
    await stopping
    expect([stopped, vi.getTimerCount()]).toEqual([true, 0])
  })

  test.each([0, -1, Number.NaN, 10_001])('refuses a rate of %d', perSecond => {
    expect(() => openLoop(perSecond, async () => {})).toThrow(`a rate of ${perSecond} a second is not above 0, at most 10000`)
  })
})
