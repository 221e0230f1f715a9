import {
  type AnswerTo,
  DeadLetter,
  type Deciding,
  type RequestKey,
  recordAnswer,
  type SettleAtOnce,
  type Settling,
  type StoredAnswer,
} from '@fairlead/chassis/data'
import type { Counter } from 'prom-client'
import { findOrder, moveOrder, type StoredOrder, settleOrder } from './orders.ts'
import type { order as definition } from './service.ts'
import { type OrderEvent, stateAfter } from './state.ts'
import { sagaStep } from './steps.ts'

type Settles<K extends 'user.reserveCredit' | 'user.releaseCredit'> = SettleAtOnce<AnswerTo<typeof definition, K>, StoredOrder>

/** A request that still waits for its order, and the answer that is to be stored for it. */
export interface Waiting {
  request: RequestKey
  /** As it was placed. */
  order: StoredOrder
  of: (order: StoredOrder) => StoredAnswer
}

/** What the user service's answers mean for an order. An answer that no order should get is a dead letter. */
export interface Saga {
  reserved: Settles<'user.reserveCredit'>
  /** The same, for the request that placed the order. */
  reservedFor(waiting: Waiting): Settles<'user.reserveCredit'>
  released: Settles<'user.releaseCredit'>
}

type Reserved = AnswerTo<typeof definition, 'user.reserveCredit'>

/** What the answer means for the order; undefined where that depends on the order. */
function eventOf(answer: Reserved): { event: OrderEvent; rejectionCode: string | null } | undefined {
  if (!('problem' in answer)) return { event: 'reserved', rejectionCode: null }
  const { code } = answer.problem
  return code === 'credit-exceeded' || code === 'unknown-user' ? { event: 'refused', rejectionCode: code } : undefined
}

/** @param orders counts orders by the state that they reach */
export function createSaga(orders: Counter): Saga {
  const count = ({ state }: StoredOrder) => orders.inc({ state })

  const moveAtOnce = async (at: Deciding, event: OrderEvent, rejectionCode: string | null, waiting?: Waiting) => {
    const after = waiting && { ...waiting.order, state: stateAfter(event), rejectionCode }
    const settled = await settleOrder(at, event, rejectionCode, after && { request: waiting.request, answer: waiting.of(after) })
    if (!settled) return undefined
    count(settled.order)
    return { value: settled.order, more: settled.more }
  }

  const move = async ({ tx, scope, subject }: Settling, event: OrderEvent, rejectionCode: string | null): Promise<StoredOrder> => {
    const { order, moved } = await moveOrder(tx, scope, subject, event, rejectionCode)
    sagaStep('order-moved')
    if (moved) tx.afterCommit(() => count(order))
    return order
  }

  const decided = async (answer: Reserved, at: Settling): Promise<StoredOrder> => {
    const means = eventOf(answer)
    if (means) return move(at, means.event, means.rejectionCode)
    // Such as a release that came before, which is right for an order that was cancelled meanwhile: nothing is left to do.
    const order = await findOrder(at.tx, at.scope, at.subject)
    if (order.state === 'pending' && 'problem' in answer) throw new DeadLetter(answer.problem.code)
    return order
  }

  const reservedFor = (waiting?: Waiting): Settles<'user.reserveCredit'> => ({
    atOnce: async (answer, at) => {
      const means = eventOf(answer)
      return means && moveAtOnce(at, means.event, means.rejectionCode, waiting)
    },
    otherwise: async (answer, at) => {
      const order = await decided(answer, at)
      if (waiting) await recordAnswer(at.tx, at.scope, waiting.request.owner, waiting.request.key, waiting.of(order))
      return order
    },
  })

  return {
    reserved: reservedFor(),
    reservedFor,
    released: { atOnce: (_answer, at) => moveAtOnce(at, 'released', null), otherwise: (_answer, at) => move(at, 'released', null) },
  }
}
