import { implement, type Started, type Wiring } from '@fairlead/chassis'
import type { Metrics } from '@fairlead/chassis/telemetry'
import { createPasswords, type Passwords } from './passwords.ts'
import { createReservationStore } from './reservations.ts'
import { userRoutes } from './routes.ts'
import { user } from './service.ts'
import { createSessionVerifier } from './session-verifier.ts'
import { createUserStore } from './store.ts'
import { createThrottle, type ThrottleLimits } from './throttle.ts'
import { watchSigningKeys } from './tokens.ts'

/** What a test may have otherwise. */
export interface UserParts {
  limits?: Partial<ThrottleLimits>
  passwords?: (metrics: Metrics) => Passwords
}

export async function startUser(
  { runtime: { log, metrics }, settings, secrets, database, realm }: Wiring<typeof user>,
  { limits, passwords = createPasswords }: UserParts = {},
): Promise<Started<typeof user>> {
  const keys = await watchSigningKeys(secrets['signing-keys'], { ...realm, lifetimeSeconds: settings.ACCESS_TOKEN_SECONDS }, log)
  metrics.secretSince('signing-keys', () => keys.current().since())
  const store = createUserStore(database)
  const reservations = createReservationStore(database)
  const throttle = createThrottle(database, { registrations: settings.REGISTRATIONS_PER_ADDRESS, ...limits })
  const outcomes = ['ok', 'bad-credentials', 'refused'].map(outcome => ({ outcome }))
  return {
    handlers: userRoutes({
      store,
      throttle,
      reservations,
      passwords: passwords(metrics),
      logins: metrics.counter('logins_total', 'Logins tried, by outcome', ['outcome'], outcomes),
      reuses: metrics.counter('refresh_reuse_total', 'Sessions that ended because a refresh token was used twice', [], [{}]),
      keys: keys.current,
      creditLimit: settings.CREDIT_LIMIT,
    }),
    verifyUser: createSessionVerifier(store, keys.current, realm),
    jobs: { sessions: store.purgeSessions, attempts: throttle.purge, reservations: reservations.purge },
    closers: [async () => keys.close()],
  }
}

export const userService = implement(user, {
  migrations: new URL('./migrations/', import.meta.url),
  start: wiring => startUser(wiring),
})
