import { DEFAULT_MAX_ATTEMPTS, RETRY_BACKOFF } from '@fairlead/chassis'
import type { GraphCheck } from './refused.ts'

/** All attempts and the longest pauses between them must fit into the caller's deadline: a retry that never gets its time is only load. */
export const retryTime: GraphCheck = ({ system }) =>
  system.services.flatMap(caller =>
    caller.calls.flatMap(({ to, attemptTimeoutMs, maxAttempts = DEFAULT_MAX_ATTEMPTS }) => {
      const pausesMs = Array.from({ length: maxAttempts - 1 }, (_, n) => Math.min(RETRY_BACKOFF.capMs, RETRY_BACKOFF.baseMs * 2 ** n)).reduce(
        (sum, ms) => sum + ms,
        0,
      )
      const neededMs = maxAttempts * attemptTimeoutMs + pausesMs
      if (neededMs <= caller.timeoutMs) return []
      return [
        `${caller.name} -> ${to.name}: ${maxAttempts} attempts of ${attemptTimeoutMs} ms and ${pausesMs} ms of backoff (calls in services/${caller.name}/service.ts) take ${neededMs} ms, more than timeoutMs ${caller.timeoutMs} of the same file`,
      ]
    }),
  )
