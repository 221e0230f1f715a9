import { implement, type Started, type Wiring } from '@fairlead/chassis'
import { STATES } from './contract.ts'
import { orderRoutes } from './routes.ts'
import { createSaga, type Saga } from './saga.ts'
import { order } from './service.ts'
import { createOrderStore, type OrderStore } from './store.ts'

export interface OrderParts {
  store: OrderStore
  saga: Saga
}

export function orderParts({ runtime, database, outbox, settings }: Wiring<typeof order>): OrderParts {
  const store = createOrderStore(database, outbox, { open: settings.MAX_OPEN_ORDERS, refused: settings.MAX_REFUSED_ORDERS_PER_DAY })
  const states = STATES.map(state => ({ state }))
  const orders = runtime.metrics.counter('orders_total', 'Orders by the state that they reached', ['state'], states)
  return { store, saga: createSaga(orders) }
}

export const startOrder = ({ outbox }: Wiring<typeof order>, { store, saga }: OrderParts): Started<typeof order> => ({
  handlers: orderRoutes({ store, saga, outbox }),
  settle: { 'user.reserveCredit': saga.reserved, 'user.releaseCredit': saga.released },
})

export const orderService = implement(order, {
  migrations: new URL('./migrations/', import.meta.url),
  start: wiring => startOrder(wiring, orderParts(wiring)),
})
