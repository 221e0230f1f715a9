import { startHousekeeping } from '@fairlead/chassis/data'
import { openWorkloadVerifier } from '@fairlead/chassis/identity'
import { startService } from '@fairlead/chassis/run'
import { userConfig } from './config.ts'
import { createPasswords } from './passwords.ts'
import { createReservationStore } from './reservations.ts'
import { userRoutes } from './routes.ts'
import { user } from './service.ts'
import { createSessionVerifier } from './session-verifier.ts'
import { createUserStore } from './store.ts'
import { createThrottle } from './throttle.ts'
import { watchSigningKeys } from './tokens.ts'

await startService({
  service: user,
  config: userConfig,
  migrations: new URL('./migrations/', import.meta.url),
  env: process.env,
  argv: process.argv,
  wire: async ({ config, runtime, database, app }) => {
    const realm = { issuer: config.AUTH_ISSUER, audience: config.AUTH_AUDIENCE }
    const keys = await watchSigningKeys(config.SIGNING_DIR, { ...realm, lifetimeSeconds: config.ACCESS_TOKEN_SECONDS }, runtime.log)
    runtime.metrics.secretSince('signing-keys', () => keys.current().since())
    const workload = await openWorkloadVerifier(user.name, config, runtime)
    const store = createUserStore(database)
    const outcomes = ['ok', 'bad-credentials', 'refused'].map(outcome => ({ outcome }))
    const throttle = createThrottle(database, { registrations: config.REGISTRATIONS_PER_ADDRESS })
    const reservations = createReservationStore(database)
    const jobs = { sessions: store.purgeSessions, attempts: throttle.purge, reservations: reservations.purge }
    const housekeeping = startHousekeeping({ ...runtime, jobs })
    const handlers = userRoutes({
      store,
      throttle,
      reservations,
      passwords: createPasswords(runtime.metrics),
      logins: runtime.metrics.counter('logins_total', 'Logins tried, by outcome', ['outcome'], outcomes),
      reuses: runtime.metrics.counter('refresh_reuse_total', 'Sessions that ended because a refresh token was used twice', [], [{}]),
      keys: keys.current,
      creditLimit: config.CREDIT_LIMIT,
    })
    const verifiers = { user: createSessionVerifier(store, keys.current, realm), workload: workload.verify }
    return { app: app({ handlers, verifiers }), closers: [housekeeping.close, async () => workload.close()] }
  },
})
