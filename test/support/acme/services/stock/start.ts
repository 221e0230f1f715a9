import { implement } from '@fairlead/chassis'
import { stock } from './service.ts'

export const stockService = implement(stock, {
  migrations: new URL('./migrations/', import.meta.url),
  start: () => ({
    handlers: {
      listItems: () => ({ status: 200 }),
      getItem: () => ({ status: 200 }),
      reserve: () => ({ status: 200, body: { left: 0 } }),
      release: () => ({ status: 200 }),
      getOpenApi: () => ({ status: 200, body: {} }),
      getOpenApiByName: () => ({ status: 200, body: {} }),
    },
  }),
})
