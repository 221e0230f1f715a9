import { setImmediate } from 'node:timers/promises'
import type { Middleware } from 'koa'
import { aborted, createDeadline, DEADLINE_HEADER } from '../contract/deadline.ts'
import { invalidRequest } from '../contract/failure.ts'
import type { Principal } from '../identity/auth.ts'
import { arrivalOf } from './admission.ts'

/**
 * Reads the caller's remaining budget.
 * @returns milliseconds, at most `maxMs`, which is also the default
 * @throws Failure `invalid-request` when the header is not a positive integer
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
    // What it has waited to be begun is spent.
    const deadline = createDeadline(maxMs, arrivalOf(ctx.req))
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
export function callerDeadline(
  maxMs: number,
  deadlinesOf: 'workloads' | 'everybody' = 'workloads',
  header = DEADLINE_HEADER,
  budgetMs = requestBudgetMs,
): Middleware {
  return (ctx, next) => {
    const principal: Principal | undefined = ctx.state.principal
    const value = ctx.headers[header]
    if (value !== undefined && (deadlinesOf === 'everybody' || principal?.kind === 'workload'))
      ctx.state.scope.deadline.tighten(budgetMs(value.toString(), maxMs))
    return next()
  }
}
