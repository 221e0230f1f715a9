import { ACCESS_TOKEN, count, defineService, seconds } from '@fairlead/chassis'
import { userContract } from './contract.ts'
import { userProto } from './proto.ts'

/** Accounts, sessions and credit. */
export const user = defineService({
  name: 'user',
  port: 8080,
  contract: userContract,
  grpc: { port: 8090, numbers: userProto },
  database: true,
  settings: {
    /** Other services take a token for that long after a log-out. */
    ACCESS_TOKEN_SECONDS: seconds(ACCESS_TOKEN.lifetimeSeconds, 60, ACCESS_TOKEN.maxLifetimeSeconds, 'the life of an access token'),
    CREDIT_LIMIT: count(100_000, 'the credit of a new user in minor units'),
    /** More than a household needs; an event where many register behind one address needs more. */
    REGISTRATIONS_PER_ADDRESS: count(20, 'registrations that one address may try in 15 minutes'),
  },
  secrets: { 'signing-keys': { make: 'ed25519-jwk', rotateDays: 90 } },
  panels: [
    {
      metric: 'logins_total',
      kind: 'counter',
      by: 'outcome',
      title: 'Logins',
      description: 'Logins tried, by outcome. Many that are bad or refused at once: somebody tries passwords.',
      unit: 'reqps',
    },
    {
      metric: 'password_hash_queue',
      kind: 'gauge',
      title: 'Password hashes waiting',
      description: 'Two are computed at once, 40 may wait; beyond that logins are answered 503 overloaded.',
      unit: 'short',
    },
  ],
  alerts: [
    {
      alert: 'RefreshReuse',
      severity: 'ticket',
      counter: 'refresh_reuse_total',
      perHour: 5,
      summary: 'refresh tokens are used twice',
      description:
        '{{ $value | humanize }} sessions ended in the last hour because their refresh token was used twice: tokens leak, or a client is broken.',
      runbook: 'refresh-reuse',
    },
  ],
  timeoutMs: 1_000,
  maxConcurrency: 256,
  slo: { availability: 0.999, latency: { thresholdMs: 250, objective: 0.99 } },
  scale: { min: 2, max: 6 },
})
