export interface Throttle {
  /** Whether a call is to be made; one that is not counts as refused. */
  allow(): boolean
  /** Counts a call that was made, once it is known what became of it: whether the callee refused it as too much. */
  settled(refused: boolean): void
}

const K = 2
const WINDOW_MS = 10_000

/**
 * Keeps calls from a callee that is overloaded: refusing costs it work as well. Of the calls of the last 5 to 10 seconds about twice as many are made as
 * it accepts, so that it is asked again as soon as it accepts more.
 * Source: B. Beyer et al., "Site Reliability Engineering", 2016, chapter 21, "Client-Side Throttling", with K = 2.
 * @param random from 0 to 1. @default Math.random
 */
export function createThrottle(random: () => number = Math.random): Throttle {
  let older = { calls: 0, accepts: 0 }
  let newer = { calls: 0, accepts: 0 }
  let startedAt = performance.now()
  const turn = () => {
    const age = performance.now() - startedAt
    if (age < WINDOW_MS / 2) return
    older = age < WINDOW_MS ? newer : { calls: 0, accepts: 0 }
    newer = { calls: 0, accepts: 0 }
    startedAt = performance.now()
  }
  return {
    allow: () => {
      turn()
      const calls = older.calls + newer.calls
      const tooMany = (calls - K * (older.accepts + newer.accepts)) / (calls + 1)
      if (random() >= tooMany) return true
      newer.calls++
      return false
    },
    settled: refused => {
      turn()
      newer.calls++
      if (!refused) newer.accepts++
    },
  }
}
