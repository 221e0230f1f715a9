import { z } from 'zod'

/** An amount in minor units (cents), so that sums are exact. */
export const money = z.strictObject({ amount: z.int().min(0).max(Number.MAX_SAFE_INTEGER), currency: z.literal('EUR') }).meta({ title: 'Money' })

export type Money = z.infer<typeof money>

export const euros = (amount: number): Money => ({ amount, currency: 'EUR' })

/**
 * The sum of price times quantity.
 * @throws RangeError when it leaves the integers that a number holds exactly (2^53 - 1)
 */
export function total(lines: readonly { unitPrice: Money; quantity: number }[]): Money {
  let amount = 0
  for (const { unitPrice, quantity } of lines) amount += unitPrice.amount * quantity
  if (!Number.isSafeInteger(amount)) throw new RangeError('the total exceeds 2^53 - 1 minor units')
  return euros(amount)
}
