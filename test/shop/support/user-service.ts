import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { ensureSigningKeys, LOCAL_ISSUER, LOCAL_NAMESPACE, openLocalIssuer } from '../../../scripts/local/credentials.ts'
import { openDatabase } from '../../../services/chassis/data/database.ts'
import { listenGrpc } from '../../../services/chassis/server/grpc/listen.ts'
import type { Metrics } from '../../../services/chassis/telemetry/metrics.ts'
import { userContract } from '../../../services/user/contract.ts'
import type { Passwords } from '../../../services/user/passwords.ts'
import { startUser, userService } from '../../../services/user/start.ts'
import type { ThrottleLimits } from '../../../services/user/throttle.ts'
import { type SigningKeys, watchSigningKeys } from '../../../services/user/tokens.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type Http, httpTo, type Listening, listen, type Reply } from '../../support/http.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'
import { wired } from '../../support/wired.ts'

export const REALM = { issuer: 'https://shop.localhost', audience: 'shop' }
/** The same as a process is told, and where it runs. */
export const REALM_ENV = { AUTH_ISSUER: REALM.issuer, AUTH_AUDIENCE: REALM.audience, NAMESPACE: LOCAL_NAMESPACE }

export interface TestUserService extends Listening {
  http: Http
  runtime: TestRuntime
  db: TestDatabase
  /** Folder with the signing keys and the workload tokens. */
  dir: string
  /** The signing keys in use now. */
  keys(): SigningKeys
  grpcHost: string
  /** With which the order service calls. */
  workloadToken: string
  /** Registers a user with this password and logs in. */
  newUser(password?: string): Promise<{ id: string; email: string; password: string; token: string; refreshToken: string }>
  /** POST /sessions from an address. */
  logIn(email: string, password: string, address?: string): Promise<Reply>
  /** Passwords, e-mail addresses and tokens that went in or out so far; the ones too short to be told from other text are left out. */
  secrets: Set<string>
}

export interface UserServiceOptions {
  throttle?: Partial<ThrottleLimits>
  creditLimit?: number
  /** In place of the real ones, e.g. with a smaller queue. */
  passwords?: (metrics: Metrics) => Passwords
  /** @default the definition's */
  maxConcurrency?: number
  /** Another instance, whose database and keys are shared. @default neither */
  replicaOf?: TestUserService
}

let count = 0

/** The user service in this process, on a database of its own unless it is a replica. */
export async function startUserService({
  throttle,
  creditLimit = 100_000,
  passwords,
  maxConcurrency = userService.service.maxConcurrency,
  replicaOf,
}: UserServiceOptions = {}): Promise<TestUserService> {
  const runtime = testRuntime('user')
  const db = replicaOf ? replicaDatabase(replicaOf.db, runtime) : await testDatabase('user', { runtime })
  const dir = replicaOf?.dir ?? (await mkdtemp(join(tmpdir(), 'fairlead-user-')))
  const signingKeys = await ensureSigningKeys(join(dir, 'signing-keys'))
  const keys = await watchSigningKeys(signingKeys, REALM, runtime.log)
  const issuer = await openLocalIssuer(join(dir, 'workload-tokens'))
  const env = {
    ...REALM_ENV,
    WORKLOAD_ISSUER: LOCAL_ISSUER,
    WORKLOAD_JWKS: issuer.jwksFile,
    WORKLOAD_CALLERS: 'order',
    SIGNING_KEYS_DIR: signingKeys,
    CREDIT_LIMIT: String(creditLimit),
    REGISTRATIONS_PER_ADDRESS: '10000',
  }
  const parts = { ...(throttle && { limits: throttle }), ...(passwords && { passwords }) }
  const service = await wired(
    { ...userService, service: { ...userService.service, maxConcurrency }, start: wiring => startUser(wiring, parts) },
    env,
    {
      runtime,
      database: db.database,
      clients: {},
      trustedHops: 1,
    },
  )
  const listening = await listen(service.app)
  const grpc = await listenGrpc({ ...runtime, handler: service.grpc.callback(), port: 0, host: '127.0.0.1' })
  const secrets = new Set<string>()
  const http = noting(secrets, httpTo(listening.url, userContract))
  return {
    ...listening,
    grpcHost: `127.0.0.1:${grpc.port}`,
    http,
    runtime,
    db,
    dir,
    keys: keys.current,
    secrets,
    logIn: (email, password, address) =>
      http('POST', '/sessions', { json: { email, password }, headers: address ? { 'x-forwarded-for': address } : {} }),
    workloadToken: await readFile(await issuer.writeToken('order', 'user'), 'utf8'),
    newUser: async (password = 'correct horse battery') => {
      const email = `user-${process.pid}-${++count}@example.org`
      const { body: user } = await http('POST', '/users', { json: { email, password, name: 'Ada' } })
      const { body: session } = await http('POST', '/sessions', { json: { email, password } })
      return { id: user.id, email, password, token: session.accessToken, refreshToken: session.refreshToken }
    },
    close: async () => {
      keys.close()
      await listening.close()
      await grpc.drain({ lingerMs: 0, finishMs: 0 })
      await service.close()
      await db.close()
      if (!replicaOf) await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Connections of its own to another instance's database, which stays when they close. */
function replicaDatabase({ url, sql }: TestDatabase, runtime: TestRuntime): TestDatabase {
  const database = openDatabase({ ...runtime, url, service: 'test', statementTimeoutMs: 5_000 })
  return { url, sql, database, close: () => database.close(5_000) }
}

const SECRET = new Set(['email', 'password', 'oldPassword', 'newPassword', 'accessToken', 'refreshToken'])

/** Remembers every secret that goes through, for `expectNoSecrets`. */
function noting(secrets: Set<string>, http: Http): Http {
  const note = (value: unknown) => void (typeof value === 'string' && value.length > 8 && secrets.add(value))
  const noteMembers = (body: unknown) => {
    if (typeof body !== 'object' || body === null) return
    for (const [name, value] of Object.entries(body)) if (SECRET.has(name)) note(value)
  }
  return async (method, path, ask = {}) => {
    note(ask.token)
    note(ask.headers?.authorization)
    noteMembers(ask.json)
    const reply = await http(method, path, ask)
    noteMembers(reply.body)
    return reply
  }
}

/** Asserts that nothing secret of all the requests so far is in a log line or a span. */
export function expectNoSecrets({ runtime, secrets }: TestUserService): void {
  const spans = runtime.spans.getFinishedSpans().map(({ name, attributes, events, status }) => ({ name, attributes, events, status }))
  const written = JSON.stringify([runtime.lines, spans])
  expect(runtime.lines.length).toBeGreaterThan(0)
  expect(secrets.size).toBeGreaterThan(0)
  // JSON's own escapes, for what has quotes or the like in it.
  expect([...secrets].filter(secret => written.includes(JSON.stringify(secret).slice(1, -1)))).toEqual([])
}
