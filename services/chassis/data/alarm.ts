import { setTimeout } from 'node:timers/promises'

/** Ends waits early. */
export interface Alarm {
  ring(): void
  /** Resolves after `ms`, or when it rings: at once if it has rung since the last wait. */
  wait(ms: number): Promise<void>
}

export function createAlarm(): Alarm {
  let rung = new AbortController()
  return {
    ring: () => rung.abort(),
    wait: async ms => {
      await setTimeout(ms, undefined, { signal: rung.signal }).catch(() => {})
      if (rung.signal.aborted) rung = new AbortController()
    },
  }
}
