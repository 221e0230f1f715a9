import { CallError, id, type Scope, within } from '@fairlead/chassis'
import type { Client, ProblemAnswer } from '@fairlead/chassis/client'
import { type Database, handOver, type Message, type Outcome, type StoredAnswer } from '@fairlead/chassis/data'
import type { Counter } from 'prom-client'
import { z } from 'zod'
import { euros } from '../money.ts'
import type { userContract } from '../user/contract.ts'
import type { OrderEvent } from './state.ts'
import { type SagaStep, sagaStep } from './steps.ts'
import { type OrderStore, RELEASE, RESERVE, type RequestKey, type StoredOrder } from './store.ts'

export interface SagaOptions {
  store: OrderStore
  database: Database
  user: Client<typeof userContract>
  /** Counts orders by the state that they reach. */
  orders: Counter
}

/** The answer to store for a request that still waits for its order. */
export interface Waiting {
  request: RequestKey
  of: (order: StoredOrder) => StoredAnswer
}

export interface Saga {
  /** The relay's way: delivers one message and settles its order. */
  deliver(message: Message, scope: Scope): Promise<Outcome>
  /**
   * The request's way: one try within the request's time, after the order is committed. Never throws.
   * @returns the settled order, or undefined when the relay has it now
   */
  attemptNow(scope: Scope, message: Message, waiting?: Waiting): Promise<StoredOrder | undefined>
}

/** Kept back from the call for settling and answering, in milliseconds. */
const SETTLE_MS = 200
/** Kept back from settling for the 202 that follows when it fails. */
const ANSWER_MS = 50

/** What a message about an order says; whatever else is in the outbox is of another version of this service, and waits for a person. */
const payloadShape = z.object({ userId: id, version: z.int().min(1), amount: z.int().min(0) })

type Decision = { kind: 'settle'; event: OrderEvent; rejectionCode?: string } | Exclude<Outcome, { kind: 'done' }>

/**
 * Reserves and releases credit for orders: at-least-once delivery of idempotent commands, with the order's state and the message
 * settled in one transaction.
 */
export function createSaga({ store, database, user, orders }: SagaOptions): Saga {
  const ask = async (scope: Scope, message: Message, marginMs: number): Promise<Decision> => {
    if (message.kind !== RESERVE && message.kind !== RELEASE) return { kind: 'park', reason: 'unknown-kind' }
    const payload = payloadShape.safeParse(message.payload).data
    if (!payload) return { kind: 'park', reason: 'malformed-payload' }
    const { userId, amount } = payload
    const options = { params: { orderId: message.subjectId }, marginMs }
    try {
      if (message.kind === RELEASE) {
        const answer = await user.call(scope, 'releaseCredit', options)
        return 'problem' in answer ? failed(answer) : { kind: 'settle', event: 'released' }
      }
      const answer = await user.call(scope, 'reserveCredit', { ...options, body: { userId, total: euros(amount) } })
      if (!('problem' in answer)) return { kind: 'settle', event: 'reserved' }
      if (answer.problem.code === 'reservation-released') return await released(scope, message)
      return refused(answer)
    } catch (error) {
      if (error instanceof CallError) return { kind: 'retry', reason: error.code }
      throw error
    }
  }

  /** A release came before this reservation. Of an order that left `pending` that is right: settling only removes the message. */
  const released = async (scope: Scope, message: Message): Promise<Decision> =>
    (await store.isPending(scope, message.subjectId)) ? { kind: 'park', reason: 'reservation-released' } : { kind: 'settle', event: 'reserved' }

  const settle = async (scope: Scope, message: Message, { event, rejectionCode }: Extract<Decision, { kind: 'settle' }>, answer?: Waiting) => {
    const { order, moved } = await store.settle(scope, message, event, { ...(rejectionCode && { rejectionCode }), ...(answer && { answer }) })
    if (moved) orders.inc({ state: order.state })
    return order
  }

  return {
    deliver: async (message, scope) => {
      const decision = await ask(scope, message, SETTLE_MS)
      sagaStep(stepOf(message, 'answered'))
      if (decision.kind !== 'settle') return decision
      await settle(scope, message, decision)
      sagaStep(stepOf(message, 'settled'))
      return { kind: 'done' }
    },

    attemptNow: async (scope, message, waiting) => {
      try {
        return await within(scope, ANSWER_MS, async inner => {
          const decision = await ask(inner, message, SETTLE_MS)
          sagaStep(stepOf(message, 'answered'))
          if (decision.kind === 'settle') {
            const order = await settle(inner, message, decision, waiting)
            sagaStep(stepOf(message, 'settled'))
            return order
          }
          if (decision.kind === 'park') scope.log.error({ orderId: message.subjectId, reason: decision.reason }, 'outbox message parked')
          await handOver(database, inner, message, decision)
          return undefined
        })
      } catch (error) {
        // The order stands; the lease runs out and the relay takes over.
        scope.log.warn({ err: error, orderId: message.subjectId }, 'order left to the relay')
        return undefined
      }
    },
  }
}

const stepOf = (message: Message, what: 'answered' | 'settled'): SagaStep =>
  message.kind === RELEASE
    ? what === 'answered'
      ? 'release-answered'
      : 'cancel-settled'
    : what === 'answered'
      ? 'reservation-answered'
      : 'order-settled'

/** 401, 408 and 429 pass by themselves, and 431 in the relay's own trace, which carries nothing of a caller's; another 4xx never will. */
function failed({ status, problem }: ProblemAnswer): Exclude<Outcome, { kind: 'done' }> {
  return { kind: [401, 408, 429, 431].includes(status) ? 'retry' : 'park', reason: problem.code }
}

function refused(answer: ProblemAnswer): Decision {
  const { status, problem } = answer
  if (status === 422 || problem.code === 'unknown-user') return { kind: 'settle', event: 'refused', rejectionCode: problem.code }
  return failed(answer)
}
