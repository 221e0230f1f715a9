import type { Span } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { createDeadline, type Deadline, unlessAborted } from './deadline.ts'
import { deadlineExceeded } from './failure.ts'

/** What one unit of work (a request, a relay's attempt) carries along: how long it may take, its span and its log. */
export interface Scope {
  deadline: Deadline
  span: Span
  log: Logger
}

/**
 * Runs `work` with a deadline that ends `marginMs` before the scope's, which leaves its caller that time to answer without it.
 * @throws Failure `deadline-exceeded` when that deadline or the scope's is spent, at once and even while the work has not noticed: on a starved
 *   machine timers are late and out of order, and a socket that was destroyed is heard of only after all of them
 */
export async function within<T>(scope: Scope, marginMs: number, work: (inner: Scope) => Promise<T>): Promise<T> {
  const budgetMs = scope.deadline.remainingMs() - marginMs
  if (budgetMs <= 0) throw deadlineExceeded()
  const own = createDeadline(budgetMs)
  // Of both: work that is lost with the scope's deadline must stop as well, or it goes on without any.
  const signal = AbortSignal.any([own.signal, scope.deadline.signal])
  try {
    return await unlessAborted(signal, work({ ...scope, deadline: { ...own, signal } }))
  } finally {
    own.clear()
  }
}
