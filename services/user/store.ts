import { Failure, newId, type Scope } from '@fairlead/chassis'
import { type Database, type Queries, statement } from '@fairlead/chassis/data'
import { euros, type Money } from '../money.ts'
import type { User } from './contract.ts'
import { newRefreshToken, refreshTokenHash } from './tokens.ts'

interface UserRow {
  id: string
  email: string
  name: string
  createdAt: Date
}

export interface Account extends UserRow {
  passwordHash: string
}

export interface Session {
  id: string
  userId: string
  refreshToken: string
}

interface SessionIds {
  sessionId: string
  userId: string
}

/** `ended`: this very reuse ended the session. */
export type Refreshed = { kind: 'traded'; session: Session } | ({ kind: 'reused'; ended: boolean } & SessionIds) | { kind: 'invalid' }

const USER = 'id, email, name, created_at as "createdAt"'
const INSERT_USER = statement<UserRow>(
  'user-insert',
  `insert into users (id, email, email_key, name, password_hash) values ($1, $2, $3, $4, $5) on conflict (email_key) do nothing returning ${USER}`,
)
const INSERT_CREDIT = statement('credit-insert', "insert into credit_accounts (user_id, limit_amount, currency) values ($1, $2, 'EUR')")
const ACCOUNT_BY_EMAIL = statement<Account>('account-by-email', `select ${USER}, password_hash as "passwordHash" from users where email_key = $1`)
const ACCOUNT_BY_ID = statement<Account>('account-by-id', `select ${USER}, password_hash as "passwordHash" from users where id = $1`)
const RENAME = statement<UserRow>('user-rename', `update users set name = $2 where id = $1 returning ${USER}`)
const SET_PASSWORD = statement<{ id: string }>(
  'password-set',
  'update users set password_hash = $2 where id = $1 and password_hash = $3 returning id',
)
const CREDIT = statement<{ limit: number; reserved: number }>(
  'credit-by-user',
  'select limit_amount as "limit", reserved_amount as reserved from credit_accounts where user_id = $1',
)

// The share lock makes a change of the password wait, which then sees and ends this session; after a change nothing is inserted.
const INSERT_SESSION = statement<{ id: string }>(
  'session-insert',
  `insert into sessions (id, user_id, expires_at)
   select $1, id, now() + interval '90 days' from users where id = $2 and password_hash = $3 for share returning id`,
)
const INSERT_REFRESH = statement(
  'refresh-insert',
  "insert into refresh_tokens (token_hash, session_id, expires_at) values ($1, $2, now() + interval '14 days')",
)
/** Kept of one user, the newest: whoever logs in again and again ends the oldest, and leaves no more rows. */
const MAX_SESSIONS = 100
const FORGET_SESSIONS = statement(
  'session-forget',
  `delete from sessions where id in (
     select id from sessions where user_id = $1
       and created_at < (select created_at from sessions where user_id = $1 order by created_at desc offset ${MAX_SESSIONS - 1} limit 1)
     for update skip locked)`,
)
/** Used tokens that a session remembers, the newest, to tell a reuse; older ones are unknown. */
const MAX_USED_TOKENS = 100
const FORGET_REFRESH = statement(
  'refresh-forget',
  `delete from refresh_tokens where session_id = $1 and used_at <
     (select used_at from refresh_tokens where session_id = $1 and used_at is not null order by used_at desc offset ${MAX_USED_TOKENS - 1} limit 1)`,
)
const CONSUME_REFRESH = statement<{ id: string; userId: string }>(
  'refresh-consume',
  `update refresh_tokens t set used_at = now() from sessions s
   where t.token_hash = $1 and t.used_at is null and t.expires_at > now() and s.id = t.session_id and s.ended_at is null and s.expires_at > now()
   returning s.id, s.user_id as "userId"`,
)
const USED_REFRESH = statement<SessionIds>(
  'refresh-used',
  `select s.id as "sessionId", s.user_id as "userId" from refresh_tokens t join sessions s on s.id = t.session_id
   where t.token_hash = $1 and t.used_at is not null`,
)
const SESSION_ALIVE = statement<{ alive: boolean }>(
  'session-alive',
  'select ended_at is null and expires_at > now() as alive from sessions where id = $1 and user_id = $2',
)
const END_SESSION = statement<{ id: string }>('session-end', 'update sessions set ended_at = now() where id = $1 and ended_at is null returning id')
const END_OTHER_SESSIONS = statement(
  'session-end-others',
  'update sessions set ended_at = now() where user_id = $1 and id <> $2 and ended_at is null',
)
const PURGE_SESSIONS = statement(
  'session-purge',
  "delete from sessions where expires_at < now() - interval '1 day' or ended_at < now() - interval '90 days'",
)

/** One account whatever the case and the composition of the letters. */
export const emailKey = (email: string): string => email.toLowerCase().normalize('NFC')

export type UserStore = ReturnType<typeof createUserStore>

/** Accounts and sessions. */
export function createUserStore(database: Database) {
  return {
    /** @throws Failure `email-taken` */
    register: (
      scope: Scope,
      { email, name, passwordHash, creditLimit }: { email: string; name: string; passwordHash: string; creditLimit: number },
    ): Promise<User> =>
      database.transaction(scope, async queries => {
        const [row] = await queries.query(scope, INSERT_USER, [newId(), email, emailKey(email), name, passwordHash])
        if (!row) throw new Failure('conflict', 'email-taken', 'There is an account with this e-mail address')
        await queries.query(scope, INSERT_CREDIT, [row.id, creditLimit])
        return toUser(row)
      }),

    findByEmail: async (scope: Scope, email: string): Promise<Account | undefined> =>
      (await database.query(scope, ACCOUNT_BY_EMAIL, [emailKey(email)]))[0],

    findById: async (scope: Scope, userId: string): Promise<Account | undefined> => (await database.query(scope, ACCOUNT_BY_ID, [userId]))[0],

    rename: async (scope: Scope, userId: string, name: string): Promise<User | undefined> => {
      const [row] = await database.query(scope, RENAME, [userId, name])
      return row && toUser(row)
    },

    credit: async (scope: Scope, userId: string): Promise<{ limit: Money; reserved: Money; available: Money } | undefined> => {
      const [row] = await database.query(scope, CREDIT, [userId])
      return row && { limit: euros(row.limit), reserved: euros(row.reserved), available: euros(row.limit - row.reserved) }
    },

    /** Replaces the hash unless somebody else did meanwhile. */
    rehash: (scope: Scope, userId: string, newHash: string, oldHash: string): Promise<unknown> =>
      database.query(scope, SET_PASSWORD, [userId, newHash, oldHash]),

    /** Replaces the hash and ends every session but this one. @returns false when the hash was replaced meanwhile */
    changePassword: (
      scope: Scope,
      { userId, sessionId, newHash, oldHash }: { userId: string; sessionId: string; newHash: string; oldHash: string },
    ): Promise<boolean> =>
      database.transaction(scope, async queries => {
        const changed = await queries.query(scope, SET_PASSWORD, [userId, newHash, oldHash])
        if (changed.length === 0) return false
        await queries.query(scope, END_OTHER_SESSIONS, [userId, sessionId])
        return true
      }),

    /** @param passwordHash that the password was checked against. @returns undefined when it was replaced meanwhile */
    startSession: (scope: Scope, userId: string, passwordHash: string): Promise<Session | undefined> =>
      database.transaction(scope, async queries => {
        const [session] = await queries.query(scope, INSERT_SESSION, [newId(), userId, passwordHash])
        if (session) await queries.query(scope, FORGET_SESSIONS, [userId])
        return session && { id: session.id, userId, refreshToken: await addRefreshToken(queries, scope, session.id) }
      }),

    /** Trades a refresh token for the next one of its session. A used one means that two parties hold it: the session ends. */
    refreshSession: async (scope: Scope, token: string): Promise<Refreshed> => {
      const hash = refreshTokenHash(token)
      const session = await database.transaction(scope, async queries => {
        const [row] = await queries.query(scope, CONSUME_REFRESH, [hash])
        if (row) await queries.query(scope, FORGET_REFRESH, [row.id])
        return row && { ...row, refreshToken: await addRefreshToken(queries, scope, row.id) }
      })
      if (session) return { kind: 'traded', session }
      const [used] = await database.query(scope, USED_REFRESH, [hash])
      if (!used) return { kind: 'invalid' }
      const ended = await database.query(scope, END_SESSION, [used.sessionId])
      return { kind: 'reused', ...used, ended: ended.length > 0 }
    },

    isAlive: async (scope: Scope, sessionId: string, userId: string): Promise<boolean> =>
      (await database.query(scope, SESSION_ALIVE, [sessionId, userId]))[0]?.alive ?? false,

    endSession: (scope: Scope, sessionId: string): Promise<unknown> => database.query(scope, END_SESSION, [sessionId]),

    purgeSessions: (scope: Scope): Promise<unknown> => database.query(scope, PURGE_SESSIONS),
  }
}

async function addRefreshToken(queries: Queries, scope: Scope, sessionId: string): Promise<string> {
  const { token, hash } = newRefreshToken()
  await queries.query(scope, INSERT_REFRESH, [hash, sessionId])
  return token
}

export const toUser = ({ id, email, name, createdAt }: UserRow): User => ({ id, email, name, createdAt: createdAt.toISOString() })
