import { defineJourney } from '@fairlead/chassis'
import { order } from '../services/order/service.ts'
import { user } from '../services/user/service.ts'

/** A customer's whole way: what they do to have an order, and to be rid of it. */
export const journey = defineJourney(({ call, fresh }) => {
  const account = { email: fresh.email(), password: fresh.password() }
  call(user, 'register', { body: { ...account, name: 'Ada' } })
  const { accessToken: as } = call(user, 'logIn', { body: account })
  call(order, 'listProducts')
  const { id } = call(order, 'placeOrder', { as, body: { items: [{ sku: 'iphone-17', quantity: 1 }] }, crosses: ['user'] })
  call(order, 'getOrder', { as, params: { id }, until: ({ state }) => state === 'confirmed' })
  call(user, 'getCredit', { as, until: ({ reserved }) => reserved.amount > 0 })
  call(order, 'cancelOrder', { as, params: { id } })
  call(user, 'getCredit', { as, until: ({ reserved }) => reserved.amount === 0 })
})
