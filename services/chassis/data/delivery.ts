import { CallError } from '../contract/call-error.ts'
import type { Command, CommandAnswer, CommandName, CommandOperation } from '../contract/commands.ts'
import type { Operation, ProblemAnswer, Received } from '../contract/contract.ts'
import type { Scope } from '../contract/scope.ts'
import type { Database, Queries, Transaction } from './database.ts'
import { type Message, type NotDelivered, type Removed, remove } from './messages.ts'
import { outboxStep } from './outbox-steps.ts'
import { UNKNOWN_ATTEMPTS } from './unknown.ts'

/** Thrown by what settles a command: the answer can never be right, so the message is parked. */
export class DeadLetter extends Error {
  override name = 'DeadLetter'
  readonly code: string
  constructor(code: string, detail = code) {
    super(detail)
    this.code = code
  }
}

/** What a command was about, and the transaction that removes its message. */
export interface Settling {
  tx: Transaction
  scope: Scope
  subject: string
}

/** Applies the answer to a command; what it does is done exactly once, since it is rolled back when another has settled the message meanwhile. */
export type SettleOne<O extends Operation, T> = (answer: CommandAnswer<O>, at: Settling) => Promise<T>

/** The same by one statement where that is enough, which is a quarter of the round trips. */
export interface SettleAtOnce<Answer, T> {
  /**
   * Runs one statement that does what the answer wants and removes the message, with `removingMessage` and `MORE` among its parts.
   * @returns undefined when it changed nothing, or for an answer that takes a transaction
   */
  atOnce(answer: Answer, at: Deciding): Promise<Settled<T> | undefined>
  /** In a transaction: what `atOnce` leaves. */
  otherwise(answer: Answer, at: Settling): Promise<T>
}

export interface Deciding {
  queries: Queries
  scope: Scope
  subject: string
  messageId: string
}

/** `more`: others of its subject waited, as the statement says. */
export type Settled<T> = Removed & { value: T }

export type Settler<O extends Operation, T> = SettleOne<O, T> | SettleAtOnce<CommandAnswer<O>, T>

/** What may settle one of a service's commands. */
export type AnswerTo<D, K extends CommandName<D>> = CommandAnswer<CommandOperation<D, K>>

/** What a service does with the answers to its commands. */
export type Settle<D> = { [K in CommandName<D>]: Settler<CommandOperation<D, K>, unknown> }

/** Calls one operation of a callee over the edge that leads to it. */
export type CallCallee = (scope: Scope, callee: string, operation: string, options: { marginMs: number }) => Promise<Received<Operation>>

/** `gone`: another has settled the message, or it was withdrawn. */
export type Delivered<T> = { kind: 'settled'; value: T } | { kind: 'gone' } | NotDelivered

/** Kept back from the call for settling and answering, in milliseconds. */
const SETTLE_MS = 200

export type Deliver = <T>(scope: Scope, message: Message, settler: Settler<never, T>) => Promise<Delivered<T>>

export interface DeliverOptions {
  commands: ReadonlyMap<string, Command>
  database: Database
  call: CallCallee
  /** Called once a message is settled that others of its subject waited for. */
  wake: () => void
}

/** One attempt of one message that is known here: the call without any lock, then the answer settled and the message removed in one transaction. */
export function createDeliver({ commands, database, call, wake }: DeliverOptions): Deliver {
  const concludeAtOnce = async <T>(scope: Scope, message: Message, answer: Received<Operation>, settler: SettleAtOnce<never, T>) => {
    try {
      const settled = await settler.atOnce(answer as never, { queries: database, scope, subject: message.subjectId, messageId: message.id })
      if (!settled) return undefined
      outboxStep(message.kind, 'committed')
      if (settled.more) wake()
      return { kind: 'settled', value: settled.value } as const
    } catch (error) {
      if ((error as { code?: string }).code === DIVISION_BY_ZERO) return undefined
      throw error
    }
  }

  /** In this order: what is settled is locked before the outbox, as where a message is sent or withdrawn. */
  const concludeInTransaction = <T>(scope: Scope, message: Message, answer: Received<Operation>, settle: SettleOne<never, T>) =>
    database.transaction(scope, async (tx): Promise<Delivered<T>> => {
      const value = await settle(answer as never, { tx, scope, subject: message.subjectId })
      outboxStep(message.kind, 'settled')
      const removed = await remove(tx, scope, message)
      if (!removed) throw new Gone()
      outboxStep(message.kind, 'removed')
      tx.afterCommit(() => outboxStep(message.kind, 'committed'))
      if (removed.more) tx.afterCommit(wake)
      return { kind: 'settled', value }
    })

  const conclude = async <T>(scope: Scope, message: Message, answer: Received<Operation>, settler: Settler<never, T>): Promise<Delivered<T>> => {
    if (typeof settler === 'function') return concludeInTransaction(scope, message, answer, settler)
    const settled = await concludeAtOnce(scope, message, answer, settler)
    return settled ?? concludeInTransaction(scope, message, answer, settler.otherwise)
  }

  return async (scope, message, settler) => {
    const command = commands.get(message.kind) as Command
    try {
      const answer = await call(scope, command.callee, command.name, { ...message.payload, marginMs: SETTLE_MS })
      outboxStep(message.kind, 'answered')
      if ('problem' in answer && !isDeclared(command, answer)) return undeclared(answer, message.attempts)
      return await conclude(scope, message, answer, settler)
    } catch (error) {
      if (error instanceof CallError) return { kind: 'retry', reason: error.code }
      if (error instanceof Gone) return { kind: 'gone' }
      if ((error as Error).name === 'DeadLetter') return { kind: 'park', reason: (error as DeadLetter).code }
      throw error
    }
  }
}

/** SQLSTATE of what `MORE` does where the message was gone. */
const DIVISION_BY_ZERO = '22012'

/** Rolls back what would be settled a second time. */
class Gone extends Error {}

const isDeclared = ({ operation }: Command, { status, problem }: ProblemAnswer) => operation.problems?.[status]?.includes(problem.code) ?? false

/** Pass by themselves; 431 in the relay's own trace, which carries nothing of a caller's. */
const PASSING = [401, 408, 429, 431]
/** What a pod of the callee's last version says of an edge or an operation that it does not have yet. */
const OF_OLD_PODS = [403, 404, 405]

const undeclared = ({ status, problem }: ProblemAnswer, attempts: number): NotDelivered => ({
  kind: PASSING.includes(status) || (OF_OLD_PODS.includes(status) && attempts < UNKNOWN_ATTEMPTS) ? 'retry' : 'park',
  reason: problem.code,
})
