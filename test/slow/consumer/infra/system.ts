import { defineSystem } from '@fairlead/chassis'
import { hello } from '../services/hello/service.ts'

export const system = defineSystem({ name: 'acme', services: [hello] })
