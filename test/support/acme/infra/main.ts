import { defineApp } from '@fairlead/infra'
import { system } from './system.ts'

export const app = defineApp({ system, root: new URL('..', import.meta.url) })

if (import.meta.main) await app.synth(process.env)
