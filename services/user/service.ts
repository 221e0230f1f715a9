import { defineService } from '../chassis/graph.ts'
import { userContract } from './contract.ts'

/** Accounts, sessions and credit. */
export const user = defineService({
  name: 'user',
  port: 8080,
  contract: userContract,
  database: 'user',
  secrets: [{ name: 'signing-keys', env: 'SIGNING_DIR' }],
  calls: [],
  timeoutMs: 1_000,
  maxConcurrency: 256,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 6 },
})
