import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { backoffMs } from '../../../services/chassis/contract/backoff.ts'

const list = (draw: number, options: { baseMs: number; capMs: number }) =>
  [0, 1, 2, 3, 4, 5, 6].map(attempt => backoffMs(attempt, { ...options, random: () => draw }))

describe('backoffMs', () => {
  test('doubles up to the cap', () => {
    expect(list(1, { baseMs: 25, capMs: 250 })).toEqual([25, 50, 100, 200, 250, 250, 250])
    expect(list(1, { baseMs: 100, capMs: 15_000 })).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400])
  })

  test('spreads evenly from 0', () => {
    expect(list(0.5, { baseMs: 25, capMs: 250 })).toEqual([12.5, 25, 50, 100, 125, 125, 125])
    expect(list(0, { baseMs: 25, capMs: 250 })).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  test('draws anew each time', () => {
    const drawn = new Set(Array.from({ length: 100 }, () => backoffMs(3, { baseMs: 100, capMs: 10_000 })))
    expect(drawn.size).toBeGreaterThan(90)
  })

  test('stays between 0 and the cap at any attempt', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, draw) => {
        const waitMs = backoffMs(attempt, { baseMs: 100, capMs: 15_000, random: () => draw })
        expect(waitMs).toBeGreaterThanOrEqual(0)
        expect(waitMs).toBeLessThanOrEqual(15_000)
      }),
    )
  })
})
