import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { overloaded } from '../../services/chassis/contract/failure.ts'
import { createPasswords } from '../../services/user/passwords.ts'
import { createThrottle, type Throttle } from '../../services/user/throttle.ts'
import { expectNoSecrets, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { expectProblem, type Reply } from '../support/http.ts'
import { testRuntime } from '../support/runtime.ts'

const LIMITS = { pair: 3, address: 6, account: 5 }
const WRONG = 'not the password'

let count = 0
const newAccount = () => `throttle-${++count}@example.org`
const newAddress = () => `203.0.113.${++count}`

describe('createThrottle()', () => {
  const runtime = testRuntime()
  let db: TestDatabase
  let throttle: Throttle

  beforeAll(async () => {
    db = await testDatabase('user', { runtime })
    throttle = createThrottle(db.database, LIMITS)
  })
  afterAll(() => db?.close())

  const attempt = (account: string, address: string, by = throttle) => by.attempt(runtime.scope(20_000), account, address)
  const succeed = (account: string, address: string, by = throttle) => by.succeed(runtime.scope(20_000), account, address)
  const fail = async (times: number, account: string, address: string) => {
    for (let i = 0; i < times; i++) await attempt(account, address)
  }
  const failAtEach = async (accounts: string[], addresses: string[]) => {
    for (const account of accounts) for (const address of addresses) await attempt(account, address)
  }
  const many = <T>(length: number, make: () => T) => Array.from({ length }, make)
  const blocked = { kind: 'too-many', code: 'too-many-attempts' }

  test('stops an address at an account after its limit', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
  })

  test('tells how many seconds of the window are left', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    const error = await attempt(account, address).catch(error => error)
    const seconds = Number(error.options.retryAfterSeconds)
    expect(seconds).toBeGreaterThan(800)
    expect(seconds).toBeLessThanOrEqual(900)
    expect(error.message).toContain(`${seconds} seconds`)
  })

  test('a blocked address leaves other addresses and other accounts alone', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
    await attempt(account, newAddress())
    await attempt(newAccount(), address)
  })

  test('an address that is blocked at an account counts no further against it', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    for (let i = 0; i < 20; i++) await expect(attempt(account, address)).rejects.toMatchObject(blocked)
    await fail(2, account, newAddress())
    await expect(attempt(account, newAddress())).rejects.toMatchObject(blocked)
  })

  test('stops an address that fails at many accounts', async () => {
    const address = newAddress()
    await failAtEach(many(6, newAccount), [address])
    const next = newAccount()
    await expect(attempt(next, address)).rejects.toMatchObject(blocked)
    await attempt(next, newAddress())
  })

  test('an address that is blocked everywhere does not count against the accounts', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await failAtEach(many(6, newAccount), [address])
    for (let i = 0; i < 3; i++) await expect(attempt(account, address)).rejects.toMatchObject(blocked)
    await failAtEach([account], many(5, newAddress))
    await expect(attempt(account, newAddress())).rejects.toMatchObject(blocked)
  })

  test('stops guessing from many addresses, but no address that has logged in there', async () => {
    const [account, home] = [newAccount(), newAddress()]
    await attempt(account, home)
    await succeed(account, home)
    await failAtEach([account], many(5, newAddress))
    await expect(attempt(account, newAddress())).rejects.toMatchObject(blocked)
    await attempt(account, home)
    await succeed(account, home)
    await attempt(account, home)
  })

  test('an address that has logged in at one account is a stranger at the next', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await attempt(newAccount(), address)
    await succeed(`throttle-${count - 1}@example.org`, address)
    await failAtEach([account], many(5, newAddress))
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
  })

  test('a known address is not exempt from its own limit', async () => {
    const [account, home] = [newAccount(), newAddress()]
    await attempt(account, home)
    await succeed(account, home)
    await fail(3, account, home)
    await expect(attempt(account, home)).rejects.toMatchObject(blocked)
  })

  test('an address that fails too often goes on at the accounts that are known to log in from there', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await attempt(account, address)
    await succeed(account, address)
    await failAtEach(many(6, newAccount), [address])
    await expect(attempt(newAccount(), address)).rejects.toMatchObject(blocked)
    await attempt(account, address)
    await fail(2, account, address)
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
  })

  test.each([
    ['at an account', (account: string, address: string) => fail(3, account, address), (account: string, address: string) => [account, address]],
    [
      'at many accounts',
      (_: string, address: string) => failAtEach(many(6, newAccount), [address]),
      (_: string, address: string) => [newAccount(), address],
    ],
    ['from many addresses', (account: string) => failAtEach([account], many(5, newAddress)), (account: string) => [account, newAddress()]],
  ] as const)('a refused attempt writes nothing, after failures %s', async (_name, exhaust, next) => {
    const [account, address] = [newAccount(), newAddress()]
    await exhaust(account, address)
    const rows = () => db.sql('select bucket, xmin::text, xmax::text from login_attempts order by bucket')
    const before = await rows()
    for (let i = 0; i < 5; i++) await expect(attempt(...(next(account, address) as [string, string]))).rejects.toMatchObject(blocked)
    expect(await rows()).toEqual(before)
  })

  test('an address is known for 30 days', async () => {
    const [account, home] = [newAccount(), newAddress()]
    await attempt(account, home)
    await succeed(account, home)
    await failAtEach([account], many(5, newAddress))
    await db.sql("update login_attempts set succeeded_at = now() - interval '29 days' where succeeded_at is not null")
    await attempt(account, home)
    await db.sql("update login_attempts set succeeded_at = now() - interval '31 days' where succeeded_at is not null")
    await expect(attempt(account, home)).rejects.toMatchObject(blocked)
  })

  test('a success forgets the failures of this address at this account', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    await succeed(account, address)
    await fail(3, account, address)
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
  })

  test('a success takes back one failure of the address and of the account, not all', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await failAtEach(many(5, newAccount), [address])
    await attempt(account, address)
    await succeed(account, address)
    await attempt(account, address)
    await expect(attempt(newAccount(), address)).rejects.toMatchObject(blocked)
    await failAtEach([account], many(4, newAddress))
    await expect(attempt(account, newAddress())).rejects.toMatchObject(blocked)
  })

  test('counts anew when the window is over', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
    await db.sql("update login_attempts set window_ends_at = now() - interval '1 second'")
    await fail(3, account, address)
    await expect(attempt(account, address)).rejects.toMatchObject(blocked)
  })

  test('the window begins with the first failure and further ones do not stretch it', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await attempt(account, address)
    await db.sql("update login_attempts set window_ends_at = now() + interval '100 seconds'")
    await fail(2, account, address)
    const error = await attempt(account, address).catch(error => error)
    expect(Number(error.options.retryAfterSeconds)).toBeLessThanOrEqual(100)
  })

  test('survives a restart', async () => {
    const [account, address] = [newAccount(), newAddress()]
    await fail(3, account, address)
    await expect(attempt(account, address, createThrottle(db.database, LIMITS))).rejects.toMatchObject(blocked)
  })

  test('50 guesses at once on two replicas are all counted', async () => {
    const [account, address] = [newAccount(), newAddress()]
    const replicas = [throttle, createThrottle(db.database, LIMITS)]
    const guesses = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => attempt(account, address, replicas[i % 2])))
    expect(guesses.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
  })

  test('successes and failures of one account and address at once do not block one another', async () => {
    const [account, address] = [newAccount(), newAddress()]
    const wide = createThrottle(db.database, { pair: 1_000, address: 1_000, account: 1_000 })
    const logIn = async () => {
      await attempt(account, address, wide)
      await succeed(account, address, wide)
    }
    const outcomes = await Promise.allSettled(Array.from({ length: 200 }, logIn))
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
  })

  test.each([',', '","', '', '|', '\n'])('takes no account and address with %j in them for another pair', async glue => {
    const [left, middle, right] = [newAccount(), 'middle', newAddress()]
    await fail(3, `${left}${glue}${middle}`, right)
    await attempt(left, `${middle}${glue}${right}`)
  })

  test('stores neither addresses nor accounts', async () => {
    const rows = await db.sql<{ bucket: Buffer }>('select bucket from login_attempts')
    expect(new Set(rows.map(row => row.bucket.length))).toEqual(new Set([32]))
  })

  test('purge() drops what is over and keeps running windows and known addresses', async () => {
    await db.sql('delete from login_attempts')
    const [account, home] = [newAccount(), newAddress()]
    await attempt(account, home)
    await succeed(account, home)
    await db.sql("update login_attempts set window_ends_at = now() - interval '1 second'")
    await attempt(newAccount(), newAddress())
    await throttle.purge(runtime.scope())
    expect(await db.sql('select 1 from login_attempts')).toHaveLength(4)
    await db.sql("update login_attempts set succeeded_at = now() - interval '31 days' where succeeded_at is not null")
    await throttle.purge(runtime.scope())
    expect(await db.sql('select 1 from login_attempts')).toHaveLength(3)
  })
})

describe('POST /users', () => {
  let user: TestUserService

  beforeAll(async () => {
    user = await startUserService({ throttle: { registrations: 3 } })
  })
  afterAll(() => user?.close())

  const register = (address: string, email = newAccount(), password = 'correct horse battery', by = user) =>
    by.http('POST', '/users', { json: { email, password, name: 'Ada' }, headers: { 'x-forwarded-for': address } })

  test('is 429 with Retry-After from an address that has tried too often, and other addresses go on', async () => {
    const address = newAddress()
    for (let i = 0; i < 3; i++) expect((await register(address)).status).toBe(201)
    const refused = await register(address)
    expectProblem(refused, 429, 'too-many-attempts')
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(900)
    expect((await register(newAddress())).status).toBe(201)
  })

  test('counts e-mail addresses that are taken, so that probing for accounts is bounded', async () => {
    const [address, email] = [newAddress(), newAccount()]
    await register(newAddress(), email)
    for (let i = 0; i < 3; i++) expectProblem(await register(address, email), 409, 'email-taken')
    expectProblem(await register(address, email), 429, 'too-many-attempts')
    expectProblem(await register(address), 429, 'too-many-attempts')
  })

  test('20 at once on two instances make no more accounts than the limit allows', async () => {
    const replica = await startUserService({ replicaOf: user, throttle: { registrations: 3 } })
    const address = newAddress()
    const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => register(address, undefined, undefined, i % 2 === 0 ? user : replica)))
    await replica.close()
    expect(replies.map(({ status }) => status).sort()).toEqual([...Array(3).fill(201), ...Array(17).fill(429)])
  })

  test('and log-ins of one address have a share of the places for passwords, whatever they fail at', async () => {
    const gate = Promise.withResolvers<void>()
    const busy = await startUserService({
      replicaOf: user,
      passwords: metrics => ({
        ...createPasswords(metrics),
        hashOfNewcomer: () => gate.promise.then(() => 'a hash'),
        verify: () => gate.promise.then(() => true),
      }),
    })
    onTestFinished(() => busy.close())
    const [greedy, other] = [newAddress(), newAddress()]
    const accounts = Array.from({ length: 12 }, newAccount)
    for (const email of accounts) expect((await register(newAddress(), email)).status).toBe(201)
    const logIns = accounts.map(email => busy.logIn(email, 'correct horse battery', greedy))
    const registrations = Array.from({ length: 12 }, () => register(greedy, undefined, undefined, busy))
    // Both that are too many have arrived before a place is given back.
    const refused = (replies: Promise<Reply>[]) =>
      new Promise<Reply[]>(resolve => {
        const seen: Reply[] = []
        for (const reply of replies) void reply.then(answer => seen.push(answer) === 2 && resolve(seen))
      })
    for (const replies of [logIns, registrations]) for (const reply of await refused(replies)) expectProblem(reply, 429, 'too-many-requests')
    const elsewhere = busy.logIn(accounts[0] as string, 'correct horse battery', other)
    gate.resolve()
    expect((await elsewhere).status).toBe(201)
    for (const replies of [logIns, registrations])
      expect((await Promise.all(replies)).map(({ status }) => status).sort()).toEqual([...Array(10).fill(201), 429, 429])
  })

  test('neither a weak password nor an overload is counted, nor does it stop a log-in', async () => {
    const address = newAddress()
    const busy = await startUserService({
      replicaOf: user,
      throttle: { registrations: 3 },
      passwords: metrics => ({ ...createPasswords(metrics), hashOfNewcomer: () => Promise.reject(overloaded()) }),
    })
    for (let i = 0; i < 4; i++) expectProblem(await register(address, undefined, 'short'), 400, 'weak-password')
    for (let i = 0; i < 4; i++) expectProblem(await register(address, undefined, undefined, busy), 503, 'overloaded')
    await busy.close()
    const email = newAccount()
    for (let i = 0; i < 3; i++) expect((await register(address, i === 0 ? email : undefined)).status).toBe(201)
    expectProblem(await register(address), 429, 'too-many-attempts')
    expect((await user.logIn(email, 'correct horse battery', address)).status).toBe(201)
  })
})

describe('POST /sessions', () => {
  let user: TestUserService
  let verified = 0

  beforeAll(async () => {
    user = await startUserService({
      throttle: LIMITS,
      passwords: metrics => {
        const real = createPasswords(metrics)
        return {
          ...real,
          verify: (...input) => {
            verified++
            return real.verify(...input)
          },
        }
      },
    })
  })
  afterAll(() => user?.close())

  test('after too many failures is 429 with Retry-After, for the right password too, and other addresses go on', async () => {
    const { email, password } = await user.newUser()
    const address = newAddress()
    for (let i = 0; i < 3; i++) expectProblem(await user.logIn(email, WRONG, address), 401, 'bad-credentials')
    const refused = await user.logIn(email, password, address)
    expectProblem(refused, 429, 'too-many-attempts')
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(900)
    expect((await user.logIn(email, password, newAddress())).status).toBe(201)
  })

  test('throttles an unknown user the same way', async () => {
    const [email, address] = [newAccount(), newAddress()]
    for (let i = 0; i < 3; i++) expectProblem(await user.logIn(email, WRONG, address), 401, 'bad-credentials')
    expectProblem(await user.logIn(email, WRONG, address), 429, 'too-many-attempts')
  })

  test('counts an account once, whatever the case and composition of its e-mail address', async () => {
    const address = newAddress()
    const spellings = ['ren\u00e9@example.org', 'REN\u00c9@example.org', 'rene\u0301@EXAMPLE.org']
    for (const email of spellings) expectProblem(await user.logIn(email, WRONG, address), 401, 'bad-credentials')
    expectProblem(await user.logIn(spellings[0] as string, WRONG, address), 429, 'too-many-attempts')
  })

  test('right passwords are never counted', async () => {
    const { email, password } = await user.newUser()
    const address = newAddress()
    for (let i = 0; i < 8; i++) expect((await user.logIn(email, password, address)).status).toBe(201)
  })

  test('believes the entry of the last proxy only', async () => {
    const [email, address] = [newAccount(), newAddress()]
    for (let i = 0; i < 3; i++) expectProblem(await user.logIn(email, WRONG, `198.51.100.${i}, ${address}`), 401, 'bad-credentials')
    expectProblem(await user.logIn(email, WRONG, `198.51.100.9, ${address}`), 429, 'too-many-attempts')
  })

  test('counts an IPv6 /64 as one address and the next /64 as another', async () => {
    const email = newAccount()
    const house = ['2001:db8:0:1::1', '2001:db8::1:ffff:0:0:2', '2001:0DB8:0000:0001:1:2:3:4']
    for (const address of house) expectProblem(await user.logIn(email, WRONG, address), 401, 'bad-credentials')
    expectProblem(await user.logIn(email, WRONG, '2001:db8:0:1:dead:beef::'), 429, 'too-many-attempts')
    expectProblem(await user.logIn(email, WRONG, '2001:db8:0:2::1'), 401, 'bad-credentials')
  })

  test('many addresses guessing at an account lock out neither its owner nor anybody else', async () => {
    const { email, password } = await user.newUser()
    const [home, other] = [newAddress(), await user.newUser()]
    expect((await user.logIn(email, password, home)).status).toBe(201)
    for (let i = 0; i < 5; i++) expectProblem(await user.logIn(email, WRONG, newAddress()), 401, 'bad-credentials')
    expectProblem(await user.logIn(email, WRONG, newAddress()), 429, 'too-many-attempts')
    expect((await user.logIn(email, password, home)).status).toBe(201)
    expect((await user.logIn(other.email, other.password, newAddress())).status).toBe(201)
  })

  test('50 guesses at once on two instances hash no more than the limit allows', async () => {
    const replica = await startUserService({ replicaOf: user, throttle: LIMITS })
    const { email } = await user.newUser()
    const address = newAddress()
    verified = 0
    const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? user : replica).logIn(email, WRONG, address)))
    await replica.close()
    const counts = { 401: 0, 429: 0 }
    for (const { status } of replies) counts[status as 401 | 429]++
    expect(counts).toEqual({ 401: 3, 429: 47 })
    expect(verified).toBeLessThanOrEqual(3)
  })

  test('an attempt that ends in an overload is not counted', async () => {
    const { email, password } = await user.newUser()
    const address = newAddress()
    const busy = await startUserService({
      replicaOf: user,
      throttle: LIMITS,
      passwords: () => {
        const refuse = () => Promise.reject(overloaded())
        return { hash: refuse, hashOfNewcomer: refuse, verify: refuse }
      },
    })
    for (let i = 0; i < 5; i++) expectProblem(await busy.logIn(email, password, address), 503, 'overloaded')
    await busy.close()
    expect((await user.logIn(email, password, address)).status).toBe(201)
  })

  test('an instance that starts later goes on counting where the first one stopped', async () => {
    const [email, address] = [newAccount(), newAddress()]
    for (let i = 0; i < 3; i++) await user.logIn(email, WRONG, address)
    const next = await startUserService({ replicaOf: user, throttle: LIMITS })
    const reply = await next.logIn(email, WRONG, address)
    await next.close()
    expectProblem(reply, 429, 'too-many-attempts')
  })

  test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
})
