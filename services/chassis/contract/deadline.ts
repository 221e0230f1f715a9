import { setImmediate } from 'node:timers/promises'
import type { Middleware } from 'koa'
import type { Principal } from '../identity/auth.ts'
import { deadlineExceeded, invalidRequest } from '../server/problem.ts'

export const DEADLINE_HEADER = 'x-request-timeout-ms'

/** A point in time after which the caller no longer waits. */
export interface Deadline {
  /** Aborts with a `deadline-exceeded` problem when the time is spent. */
  readonly signal: AbortSignal
  /** Milliseconds left, 0 at the least. */
  remainingMs(): number
  /** Ends it `budgetMs` after it began, unless it ends before. */
  tighten(budgetMs: number): void
  /** Frees the timer; the signal no longer aborts. */
  clear(): void
}

export function createDeadline(budgetMs: number): Deadline {
  const startedAt = performance.now()
  let endsAt = startedAt + budgetMs
  const controller = new AbortController()
  const spend = () => controller.abort(deadlineExceeded())
  let timer = setTimeout(spend, budgetMs)
  const remainingMs = () => Math.max(0, endsAt - performance.now())
  return {
    signal: controller.signal,
    remainingMs,
    tighten: tighterMs => {
      if (startedAt + tighterMs >= endsAt) return
      endsAt = startedAt + tighterMs
      clearTimeout(timer)
      timer = setTimeout(spend, remainingMs())
    },
    clear: () => clearTimeout(timer),
  }
}

/**
 * Reads the caller's remaining budget.
 * @returns milliseconds, at most `maxMs`, which is also the default
 * @throws ProblemError 400 when the header is not a positive integer
 */
export function requestBudgetMs(header: string | undefined, maxMs: number): number {
  if (header === undefined) return maxMs
  if (!/^[0-9]{1,10}$/.test(header) || Number(header) === 0) {
    throw invalidRequest([{ field: `header.${DEADLINE_HEADER}`, message: 'is not a positive whole number of milliseconds' }])
  }
  return Math.min(Number(header), maxMs)
}

/**
 * Gives each request a deadline and answers 504 when it is spent, whatever the handler is waiting for. A handler that has something
 * better to say by then, e.g. what it has committed, is left one turn of the event loop to say it.
 */
export function withDeadline(maxMs: number): Middleware {
  return async (ctx, next) => {
    const deadline = createDeadline(maxMs)
    ctx.state.scope.deadline = deadline
    try {
      await Promise.race([next(), aborted(deadline.signal).catch(afterOneTurn)])
    } finally {
      deadline.clear()
    }
  }
}

const afterOneTurn = async (error: unknown): Promise<never> => {
  await setImmediate()
  throw error
}

/**
 * Holds a request to what its caller still waits, where the caller's word counts: a verified workload's. A stranger's would let anybody
 * cut requests short in the middle of a transaction, which costs a database connection each time.
 */
export function callerDeadline(maxMs: number, deadlinesOf: 'workloads' | 'everybody' = 'workloads'): Middleware {
  return (ctx, next) => {
    const principal: Principal | undefined = ctx.state.principal
    const header = ctx.headers[DEADLINE_HEADER]
    if (header !== undefined && (deadlinesOf === 'everybody' || principal?.kind === 'workload'))
      ctx.state.scope.deadline.tighten(requestBudgetMs(header.toString(), maxMs))
    return next()
  }
}

/** Rejects with the signal's reason when it aborts. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
