/** Nothing here runs. tsc checks that each wrong use below does not compile: an unused @ts-expect-error is itself an error. */
import { defineJourney } from '../../../services/chassis/contract/journey.ts'
import type { Ref } from '../../../services/chassis/contract/reference.ts'
import { desk, stock } from '../../support/journey-services.ts'

export const journey = defineJourney(({ call, fresh, user }) => {
  const session = call(desk, 'logIn', { body: { email: fresh.email(), password: 'long enough to be one' } })
  const as: Ref<string> = session.accessToken
  const { id, seats, refusal } = call(desk, 'book', {
    as,
    params: { id: fresh.id() },
    body: { sku: 'bike', names: [fresh.text(), 'Ada'] },
    crosses: ['stock'],
  })
  const row: Ref<number> = seats[0].row
  call(desk, 'book', { as: user(), params: { id }, body: { sku: refusal.code, row: session.expiresIn, names: [] } })
  call(desk, 'get', { as, params: { id }, until: ({ state }) => state === 'held' })
  call(stock, 'prices', { query: {}, headers: { 'if-none-match': id } }).newest
  const nothing: undefined = call(desk, 'leave', { as, params: { id } })
  void [row, nothing]

  // @ts-expect-error there is no such operation
  call(desk, 'bok', { as, params: { id }, body: { sku: 'bike', names: [] } })
  // @ts-expect-error an operation of services is not reached from outside
  call(stock, 'reserve', { params: { id } })
  // @ts-expect-error nor is one that stays off the ingress
  call(stock, 'getOpenApi')
  // @ts-expect-error a parameter is missing
  call(desk, 'get', { as })
  // @ts-expect-error everything is missing
  call(desk, 'get')
  // @ts-expect-error the parameter has another name
  call(desk, 'get', { as, params: { bookingId: id } })
  // @ts-expect-error the body lacks a member
  call(desk, 'book', { as, params: { id }, body: { sku: 'bike' } })
  // @ts-expect-error the body has no such member
  call(desk, 'book', { as, params: { id }, body: { sku: 'bike', names: [], colour: 'red' } })
  // @ts-expect-error a number where a text is wanted
  call(desk, 'book', { as, params: { id }, body: { sku: session.expiresIn, names: [] } })
  // @ts-expect-error a text where a number is wanted
  call(desk, 'book', { as, params: { id }, body: { sku: 'bike', names: [], row: id } })
  // @ts-expect-error nobody is logged in
  call(desk, 'get', { params: { id } })
  // @ts-expect-error a token is not a number
  call(desk, 'get', { as: session.expiresIn, params: { id } })
  // @ts-expect-error it is for everybody
  call(stock, 'prices', { as, query: {} })
  // @ts-expect-error the answer has no such member
  void session.token
  // @ts-expect-error the state is never this
  call(desk, 'get', { as, params: { id }, until: ({ state }) => state === 'gone' })
  // @ts-expect-error stock is the only callee
  call(desk, 'get', { as, params: { id }, crosses: ['desk'] })
  // @ts-expect-error an answer without a body has no members
  void call(desk, 'leave', { as, params: { id } }).id
  // @ts-expect-error there is no such value
  fresh.colour()
})
