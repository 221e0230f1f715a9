import { defineSystem } from '@fairlead/chassis'
import { order } from '../services/order/service.ts'
import { user } from '../services/user/service.ts'

/** The system graph: every service, and through their `calls` every edge. */
export const system = defineSystem({ name: 'shop', services: [user, order], users: user })
