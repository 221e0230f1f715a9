import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { statement } from '../../services/chassis/data/statement.ts'
import { createUserStore, emailKey, type Session, type UserStore } from '../../services/user/store.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { testRuntime } from '../support/runtime.ts'

const runtime = testRuntime()
let db: TestDatabase
let store: UserStore

beforeAll(async () => {
  db = await testDatabase('user', { runtime })
  store = createUserStore(db.database)
})
afterAll(() => db?.close())

let count = 0
const register = () =>
  store.register(runtime.scope(), { email: `store-${++count}@example.org`, name: 'Ada', passwordHash: 'hash-1', creditLimit: 1_000 })
const startSession = async (userId: string, passwordHash = 'hash-1') => (await store.startSession(runtime.scope(), userId, passwordHash)) as Session
const isAlive = ({ id, userId }: Session) => store.isAlive(runtime.scope(), id, userId)
const changePassword = (userId: string, sessionId: string, oldHash: string, newHash: string) =>
  store.changePassword(runtime.scope(), { userId, sessionId, oldHash, newHash })

describe('emailKey()', () => {
  test.each([
    ['Ada@Example.ORG', 'ada@example.org'],
    ['JOSE\u0301@example.org', 'jos\u00e9@example.org'],
    ['J\u030c@example.org', '\u01f0@example.org'],
  ])('of %j is %j', (email, key) => {
    expect(emailKey(email)).toBe(key)
  })

  test('of two addresses that merely look alike differs', () => {
    expect(emailKey('\u0430da@example.org')).not.toBe(emailKey('ada@example.org'))
  })
})

describe('createUserStore()', () => {
  test('register() leaves no user without a credit account', async () => {
    const bad = { email: 'half@example.org', name: 'Ada', passwordHash: 'hash-1', creditLimit: -1 }
    await expect(store.register(runtime.scope(), bad)).rejects.toMatchObject({ code: '23514' })
    expect(await store.findByEmail(runtime.scope(), 'half@example.org')).toBeUndefined()
  })

  test('startSession() opens none when the hash was replaced', async () => {
    const { id } = await register()
    expect(await store.startSession(runtime.scope(), id, 'hash-0')).toBeUndefined()
    expect(await store.startSession(runtime.scope(), newId(), 'hash-1')).toBeUndefined()
    expect(await db.sql('select 1 from sessions where user_id = $1', [id])).toEqual([])
  })

  test('no session opened with the old hash outlives changePassword(), however they meet', async () => {
    const { id } = await register()
    const mine = await startSession(id)
    const sessions = (length: number) => Array.from({ length }, () => store.startSession(runtime.scope(), id, 'hash-1'))
    const before = sessions(10)
    const changed = changePassword(id, mine.id, 'hash-1', 'hash-2')
    const opened = (await Promise.all([...before, ...sessions(10)])).filter(session => session !== undefined)
    expect(await changed).toBe(true)
    expect(await Promise.all(opened.map(isAlive))).toEqual(opened.map(() => false))
    expect(await isAlive(mine)).toBe(true)
  })

  test('startSession() waits for a change of the password that is under way', async () => {
    const { id } = await register()
    const change = statement<never>('test-change', "update users set password_hash = 'hash-2' where id = $1")
    const waiting = () => db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
    const late = await db.database.transaction(runtime.scope(20_000), async queries => {
      await queries.query(runtime.scope(), change, [id])
      const started = store.startSession(runtime.scope(20_000), id, 'hash-1')
      await vi.waitFor(async () => expect(await waiting()).toHaveLength(1), { timeout: 10_000, interval: 10 })
      return { started }
    })
    expect(await late.started).toBeUndefined()
  })

  test('changePassword() changes nothing when the hash was replaced meanwhile', async () => {
    const { id } = await register()
    const [mine, other] = [await startSession(id), await startSession(id)]
    expect(await changePassword(id, mine.id, 'hash-0', 'hash-2')).toBe(false)
    expect((await store.findById(runtime.scope(), id))?.passwordHash).toBe('hash-1')
    expect(await isAlive(other)).toBe(true)
  })

  test('rehash() does not undo a change of the password', async () => {
    const { id } = await register()
    await changePassword(id, newId(), 'hash-1', 'hash-2')
    await store.rehash(runtime.scope(), id, 'hash-1-anew', 'hash-1')
    expect((await store.findById(runtime.scope(), id))?.passwordHash).toBe('hash-2')
  })

  test('a session is not alive for another user', async () => {
    const [first, second] = [await register(), await register()]
    const session = await startSession(first.id)
    expect(await isAlive(session)).toBe(true)
    expect(await isAlive({ ...session, userId: second.id })).toBe(false)
  })

  test('endSession() keeps the time of the first end', async () => {
    const session = await startSession((await register()).id)
    await store.endSession(runtime.scope(), session.id)
    const endedAt = () => db.sql('select ended_at from sessions where id = $1', [session.id])
    const first = await endedAt()
    await store.endSession(runtime.scope(), session.id)
    expect(await endedAt()).toEqual(first)
  })

  test('startSession() keeps the newest hundred sessions of a user, ended ones included, and those of others', async () => {
    const [{ id }, other] = [await register(), await register()]
    const theirs = await startSession(other.id)
    const first = await startSession(id)
    await store.endSession(runtime.scope(), first.id)
    const second = await startSession(id)
    for (let i = 0; i < 98; i++) await startSession(id)
    expect(await db.sql('select 1 from sessions where id = $1', [first.id])).toHaveLength(1)
    await Promise.all([startSession(id), startSession(id)])
    const last = await startSession(id)
    expect(await db.sql('select 1 from sessions where user_id = $1', [id])).toHaveLength(100)
    expect([await isAlive(second), await isAlive(last), await isAlive(theirs)]).toEqual([false, true, true])
  })

  test('refreshSession() remembers the last hundred used tokens of a session', async () => {
    const { id } = await register()
    const session = await startSession(id)
    const tokens = [session.refreshToken]
    for (let i = 0; i < 150; i++) {
      const traded = await store.refreshSession(runtime.scope(), tokens.at(-1) as string)
      if (traded.kind !== 'traded') throw new Error(traded.kind)
      tokens.push(traded.session.refreshToken)
    }
    expect((await db.sql('select 1 from refresh_tokens where session_id = $1', [session.id])).length).toBe(101)
    expect(await store.refreshSession(runtime.scope(), tokens[0] as string)).toEqual({ kind: 'invalid' })
    expect(await isAlive(session)).toBe(true)
    expect(await store.refreshSession(runtime.scope(), tokens[60] as string)).toMatchObject({ kind: 'reused', ended: true })
  })

  test('purgeSessions() drops what ended 90 days or expired a day ago, with its tokens, and nothing else', async () => {
    const { id } = await register()
    const [alive, endedLately, endedLongAgo, expiredLately, expiredLongAgo] = [
      await startSession(id),
      await startSession(id),
      await startSession(id),
      await startSession(id),
      await startSession(id),
    ]
    const age = (session: Session, column: string, days: number) =>
      db.sql(`update sessions set ${column} = now() - $2 * interval '1 day' where id = $1`, [session.id, days])
    await age(endedLately, 'ended_at', 89)
    await age(endedLongAgo, 'ended_at', 91)
    await age(expiredLately, 'expires_at', 0.9)
    await age(expiredLongAgo, 'expires_at', 1.1)
    await store.purgeSessions(runtime.scope())
    const left = await db.sql<{ id: string }>('select id from sessions where user_id = $1', [id])
    expect(new Set(left.map(row => row.id))).toEqual(new Set([alive.id, endedLately.id, expiredLately.id]))
    const tokens = await db.sql<{ id: string }>('select session_id as id from refresh_tokens where session_id = any($1)', [
      [alive.id, endedLongAgo.id, expiredLongAgo.id],
    ])
    expect(tokens.map(row => row.id)).toEqual([alive.id])
  })
})
