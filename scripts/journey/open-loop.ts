const TICK_MS = 10

/**
 * Begins something at a fixed rate, whatever becomes of what was begun before: a slow system does not slow its callers down.
 * @param begin is told how many were begun before; it does not reject
 */
export function openLoop(perSecond: number, begin: (number: number) => Promise<void>): { stop(): Promise<void> } {
  if (!(perSecond > 0 && perSecond <= 10_000)) throw new RangeError(`a rate of ${perSecond} a second is not above 0, at most 10000`)
  const running = new Set<Promise<void>>()
  const startedAt = performance.now()
  let begun = 0
  const tick = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1_000) * perSecond
    while (begun < due) {
      const done = begin(begun++).finally(() => running.delete(done))
      running.add(done)
    }
  }, TICK_MS)
  return {
    /** Begins no more, and waits for what is under way. */
    stop: async () => {
      clearInterval(tick)
      await Promise.all(running)
    },
  }
}
