import { defineSystem } from '@fairlead/chassis'
import { booking } from '../services/booking/service.ts'
import { hello } from '../services/hello/service.ts'
import { stock } from '../services/stock/service.ts'

export const system = defineSystem({
  name: 'acme',
  services: [hello, stock, booking],
  users: { issuer: 'https://id.acme.example', audience: 'acme', jwksUri: 'https://id.acme.example/jwks.json' },
})
