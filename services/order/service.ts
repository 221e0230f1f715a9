import { count, defineService } from '@fairlead/chassis'
import { user } from '../user/service.ts'
import { orderContract } from './contract.ts'
import { DEFAULT_LIMITS } from './limits.ts'

/** Products and orders. It goes on taking orders while the user service is away, hence the optional edge. */
export const order = defineService({
  name: 'order',
  port: 8081,
  contract: orderContract,
  database: true,
  settings: {
    MAX_OPEN_ORDERS: count(DEFAULT_LIMITS.open, 'orders of one user that are pending or cancelling'),
    MAX_REFUSED_ORDERS_PER_DAY: count(DEFAULT_LIMITS.refused, 'orders of one user that were rejected, in 24 hours'),
  },
  calls: [{ to: user, protocol: 'grpc', mode: 'optional', attemptTimeoutMs: 700, maxAttempts: 2, commands: ['reserveCredit', 'releaseCredit'] }],
  panels: [
    {
      metric: 'orders_total',
      kind: 'counter',
      by: 'state',
      title: 'Orders',
      description: 'Orders by the state that they reached. Pending without confirmed: the user service does not answer.',
      unit: 'reqps',
    },
  ],
  timeoutMs: 2_000,
  maxConcurrency: 512,
  slo: { availability: 0.999, latency: { thresholdMs: 500, objective: 0.99 } },
  scale: { min: 2, max: 6 },
})
