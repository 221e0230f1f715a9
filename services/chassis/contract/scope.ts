import type { Span } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { createDeadline, type Deadline, unlessAborted } from './deadline.ts'
import { deadlineExceeded } from './failure.ts'

/** What one unit of work (a request, a relay's attempt) carries along: how long it may take, its span and its log. */
export interface Scope {
  deadline: Deadline
  span: Span
  log: Logger
  /** Of work that its caller can take back. */
  cancellation?: Cancellation
}

/** Whether the caller has given up. Work that has not begun then need not begin; a statement that runs is left to end. */
export interface Cancellation {
  /** Aborts with a Cancelled. */
  readonly signal: AbortSignal
  /** From now on the work goes on whatever the caller does: something is about to be committed. */
  disarm(): void
}

/** Nobody waits for the answer any more. */
export class Cancelled extends Error {
  override name = 'Cancelled'
}

/** @returns the cancellation, and what the transport calls when the caller gives up */
export function createCancellation(): { cancellation: Cancellation; cancel: () => void } {
  const controller = new AbortController()
  let armed = true
  return {
    cancellation: {
      signal: controller.signal,
      disarm: () => {
        armed = false
      },
    },
    cancel: () => {
      if (armed) controller.abort(new Cancelled('the caller gave up'))
    },
  }
}

/** The same work with another span or deadline. Its log is made once somebody writes to it, as the scope's own: a spread would make it at once. */
export const scopeWith = (scope: Scope, { span = scope.span, deadline = scope.deadline }: Partial<Pick<Scope, 'span' | 'deadline'>>): Scope => ({
  deadline,
  span,
  get log() {
    return scope.log
  },
  ...(scope.cancellation && { cancellation: scope.cancellation }),
})

/**
 * Runs `work` with a deadline that ends `marginMs` before the scope's, which leaves its caller that time to answer without it.
 * @throws Failure `deadline-exceeded` when that deadline or the scope's is spent, at once and even while the work has not noticed: on a starved
 *   machine timers are late and out of order, and a socket that was destroyed is heard of only after all of them
 */
export async function within<T>(scope: Scope, marginMs: number, work: (inner: Scope) => Promise<T>): Promise<T> {
  const budgetMs = scope.deadline.remainingMs() - marginMs
  if (budgetMs <= 0) throw deadlineExceeded()
  // Work that is lost with the scope's deadline must stop as well, or it goes on without any.
  const deadline = createDeadline(budgetMs, performance.now(), scope.deadline.signal)
  try {
    return await unlessAborted(deadline.signal, work(scopeWith(scope, { deadline })))
  } finally {
    deadline.clear()
  }
}
