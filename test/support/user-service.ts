import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureSigningKeys, LOCAL_ISSUER, LOCAL_NAMESPACE, openLocalIssuer } from '../../scripts/credentials.ts'
import { createWorkloadVerifier, watchIssuerKeys } from '../../services/chassis/workload-identity.ts'
import { createUserApp } from '../../services/user/app.ts'
import { userContract } from '../../services/user/contract.ts'
import { createPasswords } from '../../services/user/passwords.ts'
import { createReservationStore } from '../../services/user/reservations.ts'
import { createSessionVerifier } from '../../services/user/session-verifier.ts'
import { createUserStore } from '../../services/user/store.ts'
import { createThrottle, type ThrottleLimits } from '../../services/user/throttle.ts'
import { watchSigningKeys } from '../../services/user/tokens.ts'
import { type TestDatabase, testDatabase } from './database.ts'
import { type Http, httpTo, type Listening, listen } from './http.ts'
import { type TestRuntime, testRuntime } from './runtime.ts'

export const REALM = { issuer: 'https://shop.localhost', audience: 'shop' }

export interface TestUserService extends Listening {
  http: Http
  runtime: TestRuntime
  db: TestDatabase
  /** Folder with the signing keys and the workload tokens. */
  dir: string
  /** With which the order service calls. */
  workloadToken: string
  /** Registers a user with this password and logs in. */
  newUser(password?: string): Promise<{ id: string; email: string; password: string; token: string; refreshToken: string }>
}

let count = 0

/** The user service in this process, on a database of its own. */
export async function startUserService({
  throttle,
  creditLimit = 100_000,
}: {
  throttle?: Partial<ThrottleLimits>
  creditLimit?: number
} = {}): Promise<TestUserService> {
  const runtime = testRuntime('user')
  const db = await testDatabase('user', { runtime })
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-user-'))
  const keys = await watchSigningKeys(await ensureSigningKeys(join(dir, 'signing-keys')), REALM, runtime.log)
  const issuer = await openLocalIssuer(join(dir, 'workload-tokens'))
  const issuerKeys = await watchIssuerKeys(issuer.jwksFile, LOCAL_ISSUER, runtime.log)
  const store = createUserStore(db.database)
  const app = createUserApp(runtime, {
    store,
    reservations: createReservationStore(db.database),
    passwords: createPasswords(runtime.metrics),
    throttle: createThrottle(db.database, throttle),
    logins: runtime.metrics.counter('logins_total', 'Logins', ['outcome']),
    keys: keys.current,
    creditLimit,
    loopDelay: { currentMs: () => 0, close: () => {} },
    trustedHops: 1,
    verifiers: {
      user: createSessionVerifier(store, keys.current, REALM),
      workload: createWorkloadVerifier({
        issuer: LOCAL_ISSUER,
        service: 'user',
        namespace: LOCAL_NAMESPACE,
        callers: ['order'],
        keys: (header, token) => issuerKeys.current()(header, token),
      }),
    },
  })
  const listening = await listen(app)
  const http = httpTo(listening.url, userContract)
  return {
    ...listening,
    http,
    runtime,
    db,
    dir,
    workloadToken: await readFile(await issuer.writeToken('order', 'user'), 'utf8'),
    newUser: async (password = 'correct horse battery') => {
      const email = `user-${process.pid}-${++count}@example.org`
      const { body: user } = await http('POST', '/users', { json: { email, password, name: 'Ada' } })
      const { body: session } = await http('POST', '/sessions', { json: { email, password } })
      return { id: user.id, email, password, token: session.accessToken, refreshToken: session.refreshToken }
    },
    close: async () => {
      keys.close()
      issuerKeys.close()
      await listening.close()
      await db.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
