import type { OrderState } from './contract.ts'

/** What can happen to an order: the user service's decisions, and the customer's wish. */
export type OrderEvent = 'reserved' | 'refused' | 'cancel' | 'released'

const TRANSITIONS: Record<OrderState, Partial<Record<OrderEvent, OrderState>>> = {
  pending: { reserved: 'confirmed', refused: 'rejected', cancel: 'cancelling' },
  confirmed: { cancel: 'cancelling' },
  rejected: {},
  cancelling: { released: 'cancelled' },
  cancelled: {},
}

/** The state after an event, or undefined when the event means nothing in this state, e.g. a late reservation. */
export const nextState = (state: OrderState, event: OrderEvent): OrderState | undefined => TRANSITIONS[state][event]

/** The states in which an event means something, for a WHERE. */
export const statesBefore = (event: OrderEvent): OrderState[] => (Object.keys(TRANSITIONS) as OrderState[]).filter(state => nextState(state, event))

/** The one state that an event leads to. */
export const stateAfter = (event: OrderEvent): OrderState => nextState(statesBefore(event)[0] as OrderState, event) as OrderState
