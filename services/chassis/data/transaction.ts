import type pg from 'pg'
import { deadlineExceeded } from '../contract/failure.ts'
import type { Scope } from '../contract/scope.ts'
import type { Queries, Transaction } from './database.ts'
import type { RunStatement } from './statement.ts'

export interface Committed<T> {
  result: T
  /** What the work wants done now that it is committed. */
  afterwards: readonly (() => void)[]
}

/** Does `work` in a transaction of its own. Rolls back when it throws. */
export async function inTransaction<T>(
  client: pg.ClientBase,
  run: RunStatement,
  scope: Scope,
  work: (tx: Transaction) => Promise<T>,
): Promise<Committed<T>> {
  const afterwards: (() => void)[] = []
  const query: Queries['query'] = (inner, statement, values = []) => run(client, inner, statement, values)
  await client.query(begin(scope))
  try {
    const result = await work({ query, afterCommit: next => void afterwards.push(next) })
    scope.cancellation?.signal.throwIfAborted()
    if (scope.deadline.remainingMs() === 0) throw deadlineExceeded()
    scope.cancellation?.disarm()
    // What is committed after a failed statement is rolled back, and the server calls that an answer.
    const { command } = await client.query('commit')
    if (command !== 'COMMIT') throw new Error('the transaction was rolled back: its work went on after a failed statement')
    return { result, afterwards }
  } catch (error) {
    // On a broken connection the server rolls back by itself.
    if (!scope.deadline.signal.aborted) await client.query('rollback').catch(() => {})
    throw error
  }
}

/** One round trip: the transaction and its limits, taken from what is left of the deadline. */
function begin(scope: Scope): string {
  const leftMs = Math.max(1, Math.ceil(Math.min(scope.deadline.remainingMs(), 60_000)))
  return `begin; set local statement_timeout = ${leftMs}; set local lock_timeout = ${leftMs}`
}
