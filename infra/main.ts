import { defineApp } from '@fairlead/infra'
import { journey } from './journey.ts'
import { system } from './system.ts'

/** Every command loads this. */
export const app = defineApp({ system, journey, root: new URL('..', import.meta.url) })

if (import.meta.main) await app.synth(process.env)
