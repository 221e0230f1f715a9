import crypto from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDeadline } from '../../services/chassis/contract/deadline.ts'
import { createPasswords, needsRehash } from '../../services/user/passwords.ts'
import { expectNoSecrets, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { expectProblem } from '../support/http.ts'
import { testRuntime } from '../support/runtime.ts'

// The real argon2, watched: what it is called with, how many run at once, and a gate to stop them at.
const watch = vi.hoisted(() => ({ calls: [] as Record<string, unknown>[], running: 0, most: 0, gate: Promise.resolve() }))
vi.mock('node:crypto', async importOriginal => {
  const real = await importOriginal<typeof import('node:crypto')>()
  const argon2: typeof real.argon2 = (algorithm, { message: _, nonce: __, ...parameters }, done) => {
    watch.calls.push({ algorithm, ...parameters })
    watch.most = Math.max(watch.most, ++watch.running)
    const finish: typeof done = (error, tag) => {
      watch.running--
      done(error, tag)
    }
    void watch.gate.then(() => real.argon2(algorithm, { message: _, nonce: __, ...parameters }, finish))
  }
  return { ...real, argon2 }
})

beforeEach(() => {
  watch.calls = []
  watch.most = 0
})

/** Stops every hash until it is called. */
function closeGate(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  watch.gate = promise
  return resolve
}
afterEach(() => {
  watch.gate = Promise.resolve()
})

const OWASP = { algorithm: 'argon2id', memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 }
const PASSWORD = 'correct horse battery'

/** A hash as the service made them before its parameters were raised. */
function oldHash(password: string): string {
  const nonce = crypto.randomBytes(16)
  const tag = crypto.argon2Sync('argon2id', { message: password, nonce, tagLength: 32, memory: 4_096, passes: 1, parallelism: 1 })
  const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=4096,t=1,p=1$${base64(nonce)}$${base64(tag)}`
}

describe('createPasswords()', () => {
  const runtime = testRuntime()
  const scope = () => runtime.scope(30_000)

  test('hash() makes a PHC string of argon2id with the parameters of OWASP', async () => {
    const hash = await createPasswords(testRuntime().metrics).hash(scope(), PASSWORD)
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    expect(watch.calls).toEqual([OWASP])
    expect(needsRehash(hash)).toBe(false)
  })

  test('hash() takes a nonce of its own each time', async () => {
    const { hash } = createPasswords(testRuntime().metrics)
    expect(await hash(scope(), PASSWORD)).not.toBe(await hash(scope(), PASSWORD))
  })

  test('verify() tells the password from another', async () => {
    const { hash, verify } = createPasswords(testRuntime().metrics)
    const hashed = await hash(scope(), PASSWORD)
    expect(await verify(scope(), PASSWORD, hashed)).toBe(true)
    expect(await verify(scope(), `${PASSWORD}.`, hashed)).toBe(false)
  })

  test('verify() computes the same for an unknown user, and says no', async () => {
    const { verify } = createPasswords(testRuntime().metrics)
    expect(await verify(scope(), PASSWORD, undefined)).toBe(false)
    expect(watch.calls).toEqual([OWASP])
  })

  test('verify() takes the parameters of the hash', async () => {
    const { verify } = createPasswords(testRuntime().metrics)
    const hashed = oldHash(PASSWORD)
    expect(needsRehash(hashed)).toBe(true)
    expect(await verify(scope(), PASSWORD, hashed)).toBe(true)
    expect(watch.calls).toEqual([{ ...OWASP, memory: 4_096, passes: 1 }])
  })

  test('verify() throws at a stored hash of another kind', async () => {
    const { verify } = createPasswords(testRuntime().metrics)
    await expect(verify(scope(), PASSWORD, '$2b$12$abcdefghijklmnopqrstuv')).rejects.toThrow('not an argon2id PHC string')
  })

  test('two run at once, forty wait, the next is refused as overloaded', async () => {
    const own = testRuntime()
    const { hash } = createPasswords(own.metrics)
    const open = closeGate()
    const deadlines = Array.from({ length: 42 }, () => createDeadline(60_000))
    const abort = new AbortController()
    // Those that wait are no longer wanted when their turn comes, which spares the test their work.
    const taken = deadlines.map((deadline, i) => hash({ ...scope(), deadline: i < 2 ? deadline : { ...deadline, signal: abort.signal } }, PASSWORD))
    const settled = Promise.allSettled(taken)
    await expect(hash(scope(), PASSWORD)).rejects.toMatchObject({ kind: 'unavailable', code: 'overloaded', options: { retryAfterSeconds: 1 } })
    expect(await own.metric('password_hash_queue')).toBe(40)
    expect(watch.calls).toHaveLength(2)
    abort.abort(new Error('gone'))
    open()
    const outcomes = (await settled).map(({ status }) => status)
    for (const deadline of deadlines) deadline.clear()
    expect(outcomes).toEqual(['fulfilled', 'fulfilled', ...Array(40).fill('rejected')])
    expect(await own.metric('password_hash_queue')).toBe(0)
  })

  test('many newcomers keep nobody out who has an account', async () => {
    const { hashOfNewcomer, verify } = createPasswords(testRuntime().metrics)
    const open = closeGate()
    const newcomers = Array.from({ length: 50 }, () => hashOfNewcomer(scope(), PASSWORD).then(Boolean, error => error.code))
    const known = verify(scope(), PASSWORD, undefined)
    expect(watch.calls).toHaveLength(2)
    open()
    expect(await known).toBe(false)
    expect((await Promise.all(newcomers)).filter(outcome => outcome === 'overloaded')).toHaveLength(29)
    expect(watch.most).toBe(2)
  })

  test('what waits is computed in the end, never more than two at once', async () => {
    const { hash, verify } = createPasswords(testRuntime().metrics)
    const hashes = await Promise.all(Array.from({ length: 6 }, () => hash(scope(), PASSWORD)))
    expect(new Set(hashes).size).toBe(6)
    expect(watch.most).toBe(2)
    expect(await verify(scope(), PASSWORD, hashes[5])).toBe(true)
  })

  test('a request that is gone when its turn comes is not computed', async () => {
    const { hash } = createPasswords(testRuntime().metrics)
    const gone = scope()
    await expect(hash({ ...gone, deadline: { ...gone.deadline, signal: AbortSignal.abort(new Error('gone')) } }, PASSWORD)).rejects.toThrow('gone')
    expect(watch.calls).toEqual([])
    await hash(scope(), PASSWORD)
    expect(watch.calls).toHaveLength(1)
  })
})

describe('with the user service', () => {
  let user: TestUserService

  beforeAll(async () => {
    user = await startUserService({ throttle: { pair: 3 } })
  })
  afterAll(() => user?.close())

  const hashOf = async (id: string) => {
    const [row] = await user.db.sql<{ password_hash: string }>('select password_hash from users where id = $1', [id])
    return row?.password_hash
  }
  const me = (token: string) => user.http('GET', '/users/me', { token })
  const refresh = (refreshToken: string) => user.http('POST', '/sessions/refresh', { json: { refreshToken } })
  const change = (token: string | undefined, oldPassword: string, newPassword: string, address = '198.51.100.1') =>
    user.http('PUT', '/users/me/password', {
      json: { oldPassword, newPassword },
      headers: { 'x-forwarded-for': address },
      ...(token !== undefined && { token }),
    })

  describe('POST /sessions', () => {
    test('hashes for an unknown user as for a wrong password', async () => {
      const { email } = await user.newUser()
      watch.calls = []
      expectProblem(await user.logIn(email, 'not the password'), 401, 'bad-credentials')
      const known = watch.calls
      watch.calls = []
      expectProblem(await user.logIn('nobody@example.org', 'not the password'), 401, 'bad-credentials')
      expect(known).toEqual([OWASP])
      expect(watch.calls).toEqual(known)
    })

    test('makes an old hash anew when the password is right', async () => {
      const { id, email, password } = await user.newUser()
      const old = oldHash(password)
      await user.db.sql('update users set password_hash = $2 where id = $1', [id, old])
      expectProblem(await user.logIn(email, 'not the password'), 401, 'bad-credentials')
      expect(await hashOf(id)).toBe(old)
      const { status, body } = await user.logIn(email, password)
      expect(status).toBe(201)
      expect(await hashOf(id)).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
      expect((await me(body.accessToken)).status).toBe(200)
      expect((await user.logIn(email, password)).status).toBe(201)
    })

    test('leaves a hash of today as it is', async () => {
      const { id, email, password } = await user.newUser()
      const before = await hashOf(id)
      await user.logIn(email, password)
      expect(await hashOf(id)).toBe(before)
    })

    test('is 503 overloaded with Retry-After when too many hashes wait', async () => {
      const small = await startUserService({ replicaOf: user, passwords: metrics => createPasswords(metrics, { concurrency: 1, queue: 1 }) })
      const open = closeGate()
      const first = small.logIn('first@example.org', PASSWORD)
      await vi.waitFor(() => expect(watch.calls).toHaveLength(1), { interval: 2 })
      const second = small.logIn('second@example.org', PASSWORD)
      await vi.waitFor(async () => expect(await small.runtime.metric('password_hash_queue')).toBe(1), { interval: 2 })
      const third = await small.logIn('third@example.org', PASSWORD)
      open()
      await Promise.all([first, second])
      expectProblem(third, 503, 'overloaded')
      expect(third.headers.get('retry-after')).toBe('1')
      expect(await small.runtime.metric('logins_total{outcome="refused"}')).toBeGreaterThanOrEqual(1)
      await small.close()
    })

    test('opens no session for a password that is changed while it is checked', async () => {
      const { id, email, password, token } = await user.newUser()
      const open = closeGate()
      const late = user.logIn(email, password)
      await vi.waitFor(() => expect(watch.running).toBe(1), { interval: 2 })
      await user.db.sql('update users set password_hash = $2 where id = $1', [id, oldHash('the next password')])
      open()
      expectProblem(await late, 503, 'unavailable')
      expect(await user.db.sql('select 1 from sessions where user_id = $1', [id])).toHaveLength(1)
      expect((await me(token)).status).toBe(200)
    })
  })

  describe('PUT /users/me/password', () => {
    test('is 204; the new password works and the old one does not', async () => {
      const { email, password, token } = await user.newUser()
      const reply = await change(token, password, 'staple of the battery')
      expect({ status: reply.status, body: reply.body }).toEqual({ status: 204, body: '' })
      expectProblem(await user.logIn(email, password), 401, 'bad-credentials')
      expect((await user.logIn(email, 'staple of the battery')).status).toBe(201)
    })

    test('ends every other session and not this one', async () => {
      const { email, password, token, refreshToken } = await user.newUser()
      const others = [(await user.logIn(email, password)).body, (await user.logIn(email, password)).body]
      const stranger = await user.newUser()
      expect((await change(token, password, 'staple of the battery')).status).toBe(204)
      for (const other of others) {
        expectProblem(await me(other.accessToken), 401, 'unauthorized')
        expectProblem(await refresh(other.refreshToken), 401, 'refresh-invalid')
      }
      expect((await me(token)).status).toBe(200)
      expect((await refresh(refreshToken)).status).toBe(201)
      expect((await me(stranger.token)).status).toBe(200)
    })

    test('a wrong old password is 401 and changes nothing', async () => {
      const { id, email, password, token } = await user.newUser()
      const other = (await user.logIn(email, password)).body
      const before = await hashOf(id)
      const reply = await change(token, 'not the password', 'staple of the battery')
      expectProblem(reply, 401, 'bad-credentials')
      expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
      expect(await hashOf(id)).toBe(before)
      expect((await me(other.accessToken)).status).toBe(200)
    })

    test.each(['short', 'password', '🦊'.repeat(7)])('a weak new password is 400: %s', async weak => {
      const { id, password, token } = await user.newUser()
      const before = await hashOf(id)
      expectProblem(await change(token, password, weak), 400, 'weak-password')
      expect(await hashOf(id)).toBe(before)
    })

    test('a new password over 256 code points is 400', async () => {
      const { password, token } = await user.newUser()
      const reply = await change(token, password, 'x'.repeat(257))
      expectProblem(reply, 400, 'invalid-request')
      expect(reply.body.errors).toEqual([{ field: 'body.newPassword', message: 'is longer than 256 characters' }])
    })

    test('the new password is compared in every Unicode composition', async () => {
      const { email, password, token } = await user.newUser()
      await change(token, password, 'caf\u00e9 au lait')
      expect((await user.logIn(email, 'cafe\u0301 au lait')).status).toBe(201)
    })

    test('guessing the old password is throttled like guessing at the log-in', async () => {
      const { password, token } = await user.newUser()
      const guess = () => change(token, 'not the password', 'staple of the battery', '198.51.100.66')
      for (let i = 0; i < 3; i++) expectProblem(await guess(), 401, 'bad-credentials')
      const refused = await guess()
      expectProblem(refused, 429, 'too-many-attempts')
      expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
      expectProblem(await change(token, password, 'staple of the battery', '198.51.100.66'), 429, 'too-many-attempts')
      expect((await change(token, password, 'staple of the battery', '198.51.100.67')).status).toBe(204)
    })

    test('of two changes at once from one password one wins', async () => {
      const { email, password, token } = await user.newUser()
      const open = closeGate()
      const changes = ['one of the batteries', 'two of the batteries'].map(next => change(token, password, next))
      await vi.waitFor(() => expect(watch.running).toBe(2), { interval: 2 })
      open()
      const replies = await Promise.all(changes)
      expect(replies.map(reply => reply.status).sort()).toEqual([204, 401])
      const winner = replies[0]?.status === 204 ? 'one of the batteries' : 'two of the batteries'
      expect((await user.logIn(email, winner)).status).toBe(201)
    })

    test('without a token is 401', async () => {
      expectProblem(await change(undefined, PASSWORD, 'staple of the battery'), 401, 'unauthorized')
    })
  })

  test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
})
