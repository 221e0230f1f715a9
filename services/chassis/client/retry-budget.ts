import { RETRY_RATIO } from '../contract/limits.ts'
export interface RetryBudget {
  /** Counts a call that was offered, which earns a part of a retry. */
  deposit(): void
  /** Takes one retry, or says that there is none to take. */
  withdraw(): boolean
}

/**
 * Bounds retries to a share of the calls offered, so that a callee in trouble never gets more than (1 + ratio) times its load.
 * Starts empty and saves up at most `cap` retries. Source: Finagle's RetryBudget, a token bucket filled by requests.
 * @param ratio retries per offered call. @default 0.2
 */
export function createRetryBudget(ratio = RETRY_RATIO, cap = 10): RetryBudget {
  // Counted in thousandths: 0.2 added five times is not 1 in binary fractions.
  const earned = Math.round(ratio * 1_000)
  let balance = 0
  return {
    deposit: () => {
      balance = Math.min(balance + earned, cap * 1_000)
    },
    withdraw: () => {
      if (balance < 1_000) return false
      balance -= 1_000
      return true
    },
  }
}
