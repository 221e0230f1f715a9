const FIRST_MS = 1_000
const LONGEST_MS = 30_000
/** How long others leave an address alone that one call tries again. */
const TRIAL_MS = 1_000

/** Whether one address is left out, for it took no connection. Times are those of `performance.now()`. */
export interface Ejection {
  /** When it may be called again; in the past unless it is ejected. */
  readonly until: number
  /** Whether it failed and was not reached since. */
  readonly isSuspect: boolean
  /** @returns for how long it is ejected, in milliseconds; undefined when it is already: many calls fail at the same time */
  fail(now: number): number | undefined
  /** One call tries it, and others wait for what comes of that. */
  tryAgain(now: number): void
  /** @returns whether it was suspect */
  recover(): boolean
}

/** A second, then twice as long each time, up to 30 s. */
export function createEjection(): Ejection {
  let until = Number.NEGATIVE_INFINITY
  let failures = 0
  let onTrial = false
  return {
    get until() {
      return until
    },
    get isSuspect() {
      return failures > 0
    },
    fail: now => {
      if (until > now && !onTrial) return undefined
      const forMs = Math.min(FIRST_MS * 2 ** failures, LONGEST_MS)
      failures++
      until = now + forMs
      onTrial = false
      return forMs
    },
    tryAgain: now => {
      until = now + TRIAL_MS
      onTrial = true
    },
    recover: () => {
      const wasSuspect = failures > 0
      until = Number.NEGATIVE_INFINITY
      failures = 0
      onTrial = false
      return wasSuspect
    },
  }
}
