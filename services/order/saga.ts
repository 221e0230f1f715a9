import { type AnswerTo, DeadLetter, recordAnswer, type Settling, type StoredAnswer } from '@fairlead/chassis/data'
import type { Counter } from 'prom-client'
import { findOrder, moveOrder, type StoredOrder } from './orders.ts'
import type { order as definition } from './service.ts'
import type { OrderEvent } from './state.ts'
import { sagaStep } from './steps.ts'
import type { RequestKey } from './store.ts'

type Answer<K extends 'user.reserveCredit' | 'user.releaseCredit'> = AnswerTo<typeof definition, K>

/** The answer to store for a request that still waits for its order. */
export interface Waiting {
  request: RequestKey
  of: (order: StoredOrder) => StoredAnswer
}

/** What the user service's answers mean for an order. */
export interface Saga {
  /** @throws DeadLetter for an answer that no order should get */
  reserved(answer: Answer<'user.reserveCredit'>, at: Settling, waiting?: Waiting): Promise<StoredOrder>
  released(answer: Answer<'user.releaseCredit'>, at: Settling): Promise<StoredOrder>
}

/** @param orders counts orders by the state that they reach */
export function createSaga(orders: Counter): Saga {
  const move = async ({ tx, scope, subject }: Settling, event: OrderEvent, rejectionCode?: string): Promise<StoredOrder> => {
    const { order, moved } = await moveOrder(tx, scope, subject, event, rejectionCode)
    sagaStep('order-moved')
    if (moved) tx.afterCommit(() => orders.inc({ state: order.state }))
    return order
  }

  const decided = async (answer: Answer<'user.reserveCredit'>, at: Settling): Promise<StoredOrder> => {
    if (!('problem' in answer)) return move(at, 'reserved')
    const { code } = answer.problem
    if (code === 'credit-exceeded' || code === 'unknown-user') return move(at, 'refused', code)
    // Such as a release that came before, which is right for an order that was cancelled meanwhile: nothing is left to do.
    const order = await findOrder(at.tx, at.scope, at.subject)
    if (order.state === 'pending') throw new DeadLetter(code)
    return order
  }

  return {
    reserved: async (answer, at, waiting) => {
      const order = await decided(answer, at)
      if (waiting) await recordAnswer(at.tx, at.scope, waiting.request.owner, waiting.request.key, waiting.of(order))
      return order
    },
    released: (_answer, at) => move(at, 'released'),
  }
}
