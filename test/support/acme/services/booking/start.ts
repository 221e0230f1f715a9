import { implement } from '@fairlead/chassis'
import { booking } from './service.ts'

export const bookingService = implement(booking, {
  migrations: new URL('./migrations/', import.meta.url),
  start: () => ({
    handlers: {
      book: () => ({ status: 202 }),
      listBookings: () => ({ status: 200 }),
      getBooking: () => ({ status: 200 }),
      cancelBooking: () => ({ status: 200 }),
      getOpenApi: () => ({ status: 200, body: {} }),
      getOpenApiByName: () => ({ status: 200, body: {} }),
    },
    settle: { 'stock.reserve': async () => {}, 'stock.release': async () => {} },
  }),
})
