import { describe, expect, test } from 'vitest'
import { type OrderState, STATES } from '../../services/order/contract.ts'
import { nextState, type OrderEvent, statesBefore } from '../../services/order/state.ts'

/** States that an order goes through when these things happen to it. */
const lifeOf = (...events: OrderEvent[]): (OrderState | undefined)[] => {
  let state: OrderState | undefined = 'pending'
  return events.map(event => {
    state = state && nextState(state, event)
    return state
  })
}

describe('an order', () => {
  test.each<[string, OrderEvent[], OrderState[]]>([
    ['whose total is reserved is confirmed', ['reserved'], ['confirmed']],
    ['whose total is refused is rejected', ['refused'], ['rejected']],
    ['that is cancelled while it waits is cancelled once its credit is released', ['cancel', 'released'], ['cancelling', 'cancelled']],
    ['that is cancelled later is, too', ['reserved', 'cancel', 'released'], ['confirmed', 'cancelling', 'cancelled']],
  ])('%s', (_, events, states) => {
    expect(lifeOf(...events)).toEqual(states)
  })

  test('is decided once, while it is pending: a reservation that comes late or twice means nothing', () => {
    expect(statesBefore('reserved')).toEqual(['pending'])
    expect(statesBefore('refused')).toEqual(['pending'])
  })

  test('can be cancelled until it is rejected, and once', () => {
    expect(statesBefore('cancel')).toEqual(['pending', 'confirmed'])
  })

  test('has its credit released only while it is being cancelled', () => {
    expect(statesBefore('released')).toEqual(['cancelling'])
  })

  test('can come to every state of the contract', () => {
    const events: OrderEvent[] = ['reserved', 'refused', 'cancel', 'released']
    const reached = new Set<OrderState>(['pending'])
    for (const state of reached) for (const event of events) reached.add(nextState(state, event) ?? state)
    expect([...reached].sort()).toEqual([...STATES].sort())
  })

  test.each(['reserved', 'refused', 'cancel', 'released'] as const)('goes to one state by %s, so that one UPDATE can apply it', event => {
    expect(new Set(statesBefore(event).map(state => nextState(state, event))).size).toBe(1)
  })
})
