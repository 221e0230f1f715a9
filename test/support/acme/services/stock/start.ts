import { implement } from '@fairlead/chassis'
import { stock } from './service.ts'

export const stockService = implement(stock, {
  migrations: new URL('./migrations/', import.meta.url),
  start: ({ runtime: { metrics } }) => {
    metrics.counter('bikes_total', 'Bikes by the state that they reached', ['state'], [{ state: 'sold' }])
    metrics.gauge('deliveries_waiting', 'Deliveries that are yet to come')
    metrics.counter('sold_out_total', 'Reservations that found nothing')
    metrics.secretSince('seals', () => 0)
    return {
      handlers: {
        listItems: () => ({ status: 200 }),
        getItem: () => ({ status: 200 }),
        reserve: () => ({ status: 200, body: { left: 0 } }),
        release: () => ({ status: 200 }),
        getOpenApi: () => ({ status: 200, body: {} }),
        getOpenApiByName: () => ({ status: 200, body: {} }),
      },
    }
  },
})
