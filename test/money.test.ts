import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { euros, money, total } from '../services/money.ts'

describe('money', () => {
  test.each([0, 1, 129_900, Number.MAX_SAFE_INTEGER])('takes %i', amount => {
    expect(money.parse(euros(amount))).toEqual({ amount, currency: 'EUR' })
  })

  test.each([
    { amount: -1, currency: 'EUR' },
    { amount: 0.5, currency: 'EUR' },
    { amount: 2 ** 53, currency: 'EUR' },
    { amount: Number.POSITIVE_INFINITY, currency: 'EUR' },
    { amount: Number.NaN, currency: 'EUR' },
    { amount: '1', currency: 'EUR' },
    { amount: 1, currency: 'USD' },
    { amount: 1, currency: 'eur' },
    { amount: 1 },
    { amount: 1, currency: 'EUR', cents: 1 },
    1,
  ])('refuses %o', value => {
    expect(money.safeParse(value).success).toBe(false)
  })
})

describe('total', () => {
  test('is the sum of price times quantity', () => {
    expect(
      total([
        { unitPrice: euros(12_900), quantity: 2 },
        { unitPrice: euros(99), quantity: 3 },
      ]),
    ).toEqual({ amount: 26_097, currency: 'EUR' })
    expect(total([])).toEqual(euros(0))
  })

  test('is exact or throws', () => {
    const amount = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.integer({ min: Number.MAX_SAFE_INTEGER - 10, max: Number.MAX_SAFE_INTEGER }))
    const lines = fc.array(
      fc.record({ unitPrice: amount.map(euros), quantity: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 1_000 })) }),
      {
        maxLength: 50,
      },
    )
    fc.assert(
      fc.property(lines, lines => {
        const exact = lines.reduce((sum, { unitPrice, quantity }) => sum + BigInt(unitPrice.amount) * BigInt(quantity), 0n)
        if (exact <= BigInt(Number.MAX_SAFE_INTEGER)) expect(BigInt(total(lines).amount)).toBe(exact)
        else expect(() => total(lines)).toThrow(RangeError)
      }),
      { numRuns: 2_000 },
    )
  })

  test.each([
    [[[Number.MAX_SAFE_INTEGER, 1]], false],
    [
      [
        [Number.MAX_SAFE_INTEGER, 1],
        [1, 1],
      ],
      true,
    ],
    [[[Number.MAX_SAFE_INTEGER, 2]], true],
  ] as [number[][], boolean][])('of %j throws: %s', (lines, throws) => {
    const sum = () => total(lines.map(([amount = 0, quantity = 0]) => ({ unitPrice: euros(amount), quantity })))
    if (throws) expect(sum).toThrow(RangeError)
    else expect(sum()).toEqual(euros(Number.MAX_SAFE_INTEGER))
  })
})
