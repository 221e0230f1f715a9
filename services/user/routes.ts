import { Failure, serveOpenApi, unavailable } from '@fairlead/chassis'
import { unauthorized } from '@fairlead/chassis/identity'
import type { Handlers } from '@fairlead/chassis/server'
import type { JWK } from 'jose'
import type { Counter } from 'prom-client'
import { audit } from './audit.ts'
import { userContract } from './contract.ts'
import { type Credentials, createCredentials } from './credentials.ts'
import { needsRehash, type Passwords, refuseWeak } from './passwords.ts'
import type { ReservationStore } from './reservations.ts'
import { emailKey, type Session, toUser, type UserStore } from './store.ts'
import type { Throttle } from './throttle.ts'
import type { SigningKeys } from './tokens.ts'

export interface UserDependencies {
  store: UserStore
  reservations: ReservationStore
  passwords: Passwords
  throttle: Throttle
  logins: Counter
  /** Sessions that ended because a refresh token was used twice. */
  reuses: Counter
  /** The keys mounted now. */
  keys: () => SigningKeys
  /** Of a new user, in minor units. */
  creditLimit: number
}

type Some<K extends keyof typeof userContract> = Pick<Handlers<typeof userContract>, K>

/** One handler for each operation of the contract. */
export function userRoutes(dependencies: UserDependencies): Handlers<typeof userContract> {
  const credentials = createCredentials(dependencies.passwords, dependencies.throttle)
  const document = serveOpenApi(userContract, { title: 'user', version: '1', description: 'Accounts, sessions and credit of the shop.' })
  return {
    ...accountRoutes(dependencies, credentials),
    ...sessionRoutes(dependencies, credentials),
    ...creditRoutes(dependencies),
    ...keyRoutes(dependencies),
    getOpenApi: document,
    getOpenApiByName: document,
  }
}

function accountRoutes(
  { store, passwords, creditLimit }: UserDependencies,
  credentials: Credentials,
): Some<'register' | 'getMe' | 'changeMe' | 'changePassword'> {
  return {
    register: async ({ scope, body, address }) => {
      refuseWeak(body.password)
      const passwordHash = await credentials.hashOfNewcomer(scope, address(), body.password)
      const user = await store.register(scope, { email: body.email, name: body.name, passwordHash, creditLimit })
      audit(scope, 'registered', { userId: user.id })
      return { status: 201, body: user, headers: { location: '/users/me' } }
    },

    getMe: async ({ scope, principal }) => ({ status: 200, body: toUser(known(await store.findById(scope, principal.id))) }),

    changeMe: async ({ scope, principal, body }) => ({ status: 200, body: known(await store.rename(scope, principal.id, body.name)) }),

    changePassword: async ({ scope, principal, body, address }) => {
      refuseWeak(body.newPassword)
      const found = known(await store.findById(scope, principal.id))
      const account = await credentials.check(scope, { account: found, key: emailKey(found.email), address: address(), password: body.oldPassword })
      const newHash = account && (await passwords.hash(scope, body.newPassword))
      const changed =
        newHash &&
        (await store.changePassword(scope, {
          userId: principal.id,
          sessionId: principal.sessionId as string,
          newHash,
          oldHash: account.passwordHash,
        }))
      audit(scope, changed ? 'password-changed' : 'password-change-failed', { userId: principal.id, sessionId: principal.sessionId })
      if (!changed) throw new Failure('unauthenticated', 'bad-credentials', 'The old password is wrong')
      return { status: 204 }
    },
  }
}

function sessionRoutes({ store, passwords, logins, reuses, keys }: UserDependencies, credentials: Credentials): Some<'logIn' | 'refresh' | 'logOut'> {
  const issue = async ({ id, userId, refreshToken }: Session) => {
    const { sign, lifetimeSeconds } = keys()
    const accessToken = await sign({ userId, sessionId: id })
    return { status: 201 as const, body: { accessToken, refreshToken, tokenType: 'Bearer' as const, expiresIn: lifetimeSeconds } }
  }

  return {
    logIn: async ({ scope, body, address }) => {
      const key = emailKey(body.email)
      const found = await store.findByEmail(scope, body.email)
      const account = await credentials.check(scope, { account: found, key, address: address(), password: body.password }).catch(error => {
        logins.inc({ outcome: 'refused' })
        throw error
      })
      logins.inc({ outcome: account ? 'ok' : 'bad-credentials' })
      if (found && !account) audit(scope, 'log-in-failed', { userId: found.id })
      if (!account) throw new Failure('unauthenticated', 'bad-credentials', 'The e-mail address or the password is wrong')
      const session = await store.startSession(scope, account.id, account.passwordHash)
      if (!session) throw unavailable('The password was replaced during this log-in; try again')
      audit(scope, 'logged-in', { userId: account.id, sessionId: session.id })
      if (needsRehash(account.passwordHash)) {
        await store.rehash(scope, account.id, await passwords.hash(scope, body.password), account.passwordHash)
      }
      return issue(session)
    },

    refresh: async ({ scope, body }) => {
      const refreshed = await store.refreshSession(scope, body.refreshToken)
      if (refreshed.kind === 'invalid') throw refreshRefused('refresh-invalid', 'The refresh token is unknown or has expired; log in again')
      if (refreshed.kind === 'reused') {
        audit(scope, 'refresh-reused', refreshed)
        // Not each repeat: who holds one used token could raise the alarm as often as he likes.
        if (refreshed.ended) reuses.inc()
        throw refreshRefused('refresh-reused', 'The refresh token was used before, so its session has ended; log in again')
      }
      const { session } = refreshed
      audit(scope, 'refreshed', { userId: session.userId, sessionId: session.id })
      return issue(session)
    },

    logOut: async ({ scope, principal }) => {
      await store.endSession(scope, principal.sessionId as string)
      audit(scope, 'logged-out', { userId: principal.id, sessionId: principal.sessionId })
      return { status: 204 }
    },
  }
}

const creditRoutes = ({ store, reservations }: UserDependencies): Some<'getCredit' | 'reserveCredit' | 'releaseCredit'> => ({
  getCredit: async ({ scope, principal }) => ({ status: 200, body: known(await store.credit(scope, principal.id)) }),

  reserveCredit: async ({ scope, params: { orderId }, body: { userId, total } }) => {
    await reservations.reserve(scope, orderId, userId, total)
    return { status: 200, body: { orderId, userId, total, state: 'reserved' } }
  },

  releaseCredit: async ({ scope, params: { orderId } }) => {
    await reservations.release(scope, orderId)
    return { status: 204 }
  },
})

const keyRoutes = ({ keys }: UserDependencies): Some<'getKeys'> => ({
  getKeys: async () => ({
    status: 200,
    body: keys().publicJwks as { keys: (JWK & Record<string, unknown>)[] },
    headers: { 'cache-control': 'public, max-age=60' },
  }),
})

const refreshRefused = (code: string, detail: string) => new Failure('unauthenticated', code, detail)

/** A valid token whose user is gone is no longer valid. */
function known<T>(found: T | undefined): T {
  if (found === undefined) throw unauthorized('The user of this token no longer exists', 'invalid_token')
  return found
}
