import timers from 'node:timers/promises'

/** Waits for a while, or rejects with the signal's reason as soon as that aborts. Leaves no timer and no listener behind. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await timers.setTimeout(ms, undefined, { ...(signal && { signal }) }).catch(error => {
    signal?.throwIfAborted()
    throw error
  })
}
