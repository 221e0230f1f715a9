import { deadlineExceeded } from './failure.ts'

export const DEADLINE_HEADER = 'x-request-timeout-ms'

/** A point in time after which the caller no longer waits. */
export interface Deadline {
  /** Aborts with a `deadline-exceeded` problem when the time is spent. */
  readonly signal: AbortSignal
  /** Milliseconds left, never below 0. */
  remainingMs(): number
  /** Ends it `budgetMs` after it began, unless it ends before. */
  tighten(budgetMs: number): void
  /** Frees the timer; the signal no longer aborts. */
  clear(): void
}

/**
 * @param startedAt when the caller began to wait, as performance.now() has it. @default now
 * @param outer ends it as well
 */
export function createDeadline(budgetMs: number, startedAt: number = performance.now(), outer?: AbortSignal): Deadline {
  let endsAt = startedAt + budgetMs
  const controller = new AbortController()
  const spend = () => controller.abort(deadlineExceeded())
  const remainingMs = () => Math.max(0, endsAt - performance.now())
  let timer = setTimeout(spend, remainingMs())
  // By hand: AbortSignal.any takes longer than all the rest.
  const end = outer && (() => controller.abort(outer.reason))
  if (end) outer.addEventListener('abort', end, { once: true })
  if (end && outer.aborted) end()
  return {
    signal: controller.signal,
    remainingMs,
    tighten: tighterMs => {
      if (startedAt + tighterMs >= endsAt) return
      endsAt = startedAt + tighterMs
      clearTimeout(timer)
      timer = setTimeout(spend, remainingMs())
    },
    clear: () => {
      clearTimeout(timer)
      if (end) outer.removeEventListener('abort', end)
    },
  }
}

/** Rejects with the signal's reason when it aborts. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** The work's result, unless the signal aborts before: then rejects with its reason. Leaves no listener behind. */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let onAbort = () => {}
  const abort = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([work, abort])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** The work's result, or `undefined` once `ms` have passed without one; the work itself goes on. Leaves no timer behind. */
export async function atMost<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>()
  const timer = setTimeout(late.resolve, ms, undefined)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
