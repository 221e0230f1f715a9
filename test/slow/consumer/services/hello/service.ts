import { defineService } from '@fairlead/chassis'
import { helloContract } from './contract.ts'

export const hello = defineService({
  name: 'hello',
  port: 8080,
  contract: helloContract,
  timeoutMs: 500,
  maxConcurrency: 100,
  slo: { availability: 0.999, latency: { thresholdMs: 100, objective: 0.99 } },
  scale: { min: 2, max: 4 },
})
