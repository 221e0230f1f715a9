/** One thing that must hold for a pod to get traffic. Rejects with the reason when it does not. */
export type Check = () => Promise<void>

export interface Health {
  /** Whether the process is alive: true while the event loop turns, whatever its dependencies do. */
  live(): boolean
  /** Names of the checks that fail now; empty means ready. */
  failing(): Promise<string[]>
  /** From now on not ready, so that endpoints drop this pod. */
  drain(): void
}

/**
 * Readiness from named checks. Their answers are kept for `cacheMs`, so that probes cannot load the database.
 */
export function createHealth(checks: Record<string, Check>, cacheMs = 1_000): Health {
  let draining = false
  let asked = 0
  let answer: Promise<string[]> | undefined
  const ask = async () => {
    const results = await Promise.allSettled(Object.values(checks).map(check => check()))
    return Object.keys(checks).filter((_, i) => results[i]?.status === 'rejected')
  }
  return {
    live: () => true,
    failing: async () => {
      if (draining) return ['draining']
      const now = performance.now()
      if (!answer || now - asked > cacheMs) {
        asked = now
        answer = ask()
      }
      return answer
    },
    drain: () => {
      draining = true
    },
  }
}
