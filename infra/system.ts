import { defineSystem } from '@fairlead/chassis'
import { order } from '../services/order/service.ts'
import { user } from '../services/user/service.ts'
// fairlead add service: imports

/** The system graph: every service, and through their `calls` every edge. */
export const system = defineSystem({
  name: 'shop',
  users: user,
  services: [
    user,
    order,
    // fairlead add service: services
  ],
})
