import { unlessAborted } from '../contract/deadline.ts'

export interface Turns {
  /** Waits for a turn. @throws the signal's reason when it aborts before */
  take(signal: AbortSignal): Promise<void>
  /** Ends one that `take` gave. */
  give(): void
}

/** At most `limit` at once; the others come in their order. */
export function createTurns(limit: number): Turns {
  const waiting = new Set<() => void>()
  let taken = 0
  const give = () => {
    const [next] = waiting
    if (!next) taken--
    else {
      waiting.delete(next)
      next()
    }
  }
  return {
    take: async signal => {
      if (taken < limit) {
        taken++
        return
      }
      const turn = Promise.withResolvers<void>()
      waiting.add(turn.resolve)
      try {
        await unlessAborted(signal, turn.promise)
      } catch (error) {
        // It may have come in the same moment.
        if (!waiting.delete(turn.resolve)) give()
        throw error
      }
    },
    give,
  }
}
