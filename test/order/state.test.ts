import { describe, expect, test } from 'vitest'
import { type OrderState, STATES } from '../../services/order/contract.ts'
import { nextState, type OrderEvent, statesBefore } from '../../services/order/state.ts'

const TABLE: Record<OrderState, Record<OrderEvent, OrderState | undefined>> = {
  pending: { reserved: 'confirmed', refused: 'rejected', cancel: 'cancelling', released: undefined },
  confirmed: { reserved: undefined, refused: undefined, cancel: 'cancelling', released: undefined },
  rejected: { reserved: undefined, refused: undefined, cancel: undefined, released: undefined },
  cancelling: { reserved: undefined, refused: undefined, cancel: undefined, released: 'cancelled' },
  cancelled: { reserved: undefined, refused: undefined, cancel: undefined, released: undefined },
}
const EVENTS: OrderEvent[] = ['reserved', 'refused', 'cancel', 'released']

describe('nextState', () => {
  test.each(STATES.flatMap(state => EVENTS.map(event => [state, event, TABLE[state][event]] as const)))('%s, %s: %s', (state, event, next) => {
    expect(nextState(state, event)).toBe(next)
  })

  test('knows every state of the contract and no other', () => {
    expect(Object.keys(TABLE)).toEqual([...STATES])
  })
})

describe('statesBefore', () => {
  test.each(EVENTS)('lists the states in which %s means something', event => {
    expect(statesBefore(event)).toEqual(STATES.filter(state => TABLE[state][event] !== undefined))
  })

  test.each(['reserved', 'refused', 'released'] as const)('%s leads to one state, so that one UPDATE can apply it', event => {
    expect(new Set(statesBefore(event).map(state => nextState(state, event))).size).toBe(1)
  })
})
