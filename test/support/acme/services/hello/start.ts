import { implement } from '@fairlead/chassis'
import { hello } from './service.ts'

export const helloService = implement(hello, {
  start: () => ({
    handlers: {
      greet: ({ params }) => ({ status: 200, body: { text: `Hello ${params.name}` } }),
      listGreetings: () => ({ status: 200 }),
      latestGreeting: () => ({ status: 200 }),
    },
  }),
})
