import { defineContract, strict } from '@fairlead/chassis'
import { z } from 'zod'

export const helloContract = defineContract({
  greet: {
    method: 'GET',
    path: '/hello/{name}',
    summary: 'A greeting',
    auth: 'none',
    params: z.object({ name: z.string().max(50) }),
    responses: { 200: { description: 'The greeting', body: strict({ text: z.string() }) } },
  },
})
