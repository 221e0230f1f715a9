import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRetryBudget } from '../../../services/chassis/client/retry-budget.ts'

const deposit = (budget: ReturnType<typeof createRetryBudget>, times: number) => {
  for (let n = 0; n < times; n++) budget.deposit()
}
const withdrawAll = (budget: ReturnType<typeof createRetryBudget>) => {
  let taken = 0
  while (budget.withdraw()) taken++
  return taken
}

describe('createRetryBudget', () => {
  test('starts empty', () => {
    expect(createRetryBudget().withdraw()).toBe(false)
  })

  test('earns one retry with every fifth call, not before', () => {
    const budget = createRetryBudget()
    const taken = Array.from({ length: 15 }, () => {
      budget.deposit()
      return budget.withdraw()
    })
    expect(taken).toEqual([false, false, false, false, true, false, false, false, false, true, false, false, false, false, true])
  })

  test('saves up at most ten', () => {
    const budget = createRetryBudget()
    deposit(budget, 1_000)
    expect(withdrawAll(budget)).toBe(10)
  })

  test('takes another ratio and cap', () => {
    const budget = createRetryBudget(0.1, 2)
    deposit(budget, 19)
    expect(withdrawAll(budget)).toBe(1)
    deposit(budget, 1)
    expect(withdrawAll(budget)).toBe(1)
    deposit(budget, 1_000)
    expect(withdrawAll(budget)).toBe(2)
  })

  test('never gives more than a fifth of the calls offered, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 500 }), steps => {
        const budget = createRetryBudget()
        let offered = 0
        let taken = 0
        for (const isCall of steps) {
          if (isCall) {
            budget.deposit()
            offered++
          } else if (budget.withdraw()) taken++
          expect(taken).toBeLessThanOrEqual(offered / 5)
        }
      }),
    )
  })
})
