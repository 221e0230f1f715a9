import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generateKeyPair, importJWK, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LOCAL_ISSUER, LOCAL_NAMESPACE, openLocalIssuer } from '../../scripts/local/credentials.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import { workloadAudience, workloadSubject } from '../../services/chassis/contract/workload.ts'
import { euros } from '../../services/money.ts'
import { createReservationStore } from '../../services/user/reservations.ts'
import { expectNoSecrets, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { expectProblem, type Reply } from '../support/http.ts'

const LIMIT = 100_000

let user: TestUserService

beforeAll(async () => {
  user = await startUserService({ creditLimit: LIMIT })
})
afterAll(() => user?.close())

const put = (orderId: string, userId: string, amount: number, token = user.workloadToken) =>
  user.http('PUT', `/reservations/${orderId}`, { token, json: { userId, total: euros(amount) } })
const release = (orderId: string, token = user.workloadToken) => user.http('DELETE', `/reservations/${orderId}`, { token })

/** A user without a password: only credit matters here. */
async function newAccount(limit = LIMIT): Promise<string> {
  const id = newId()
  await user.db.sql("insert into users (id, email, email_key, name, password_hash) values ($1, $2, $2, 'Ada', '')", [id, `${id}@example.org`])
  await user.db.sql("insert into credit_accounts (user_id, limit_amount, currency) values ($1, $2, 'EUR')", [id, limit])
  return id
}
const reserved = async (userId: string) => {
  const [row] = await user.db.sql<{ reserved: number }>('select reserved_amount as reserved from credit_accounts where user_id = $1', [userId])
  return row?.reserved
}
const held = async (userId: string) => {
  const [row] = await user.db.sql<{ sum: number }>(
    "select coalesce(sum(amount), 0)::bigint as sum from reservations where user_id = $1 and state = 'reserved'",
    [userId],
  )
  return row?.sum
}
const stateOf = async (orderId: string) =>
  (await user.db.sql<{ state: string }>('select state from reservations where order_id = $1', [orderId]))[0]?.state

describe('PUT /reservations/{orderId}', () => {
  test('is 200 and holds the total, once or many times', async () => {
    const [userId, orderId] = [await newAccount(), newId()]
    for (let i = 0; i < 3; i++) {
      const reply = await put(orderId, userId, 40_000)
      expect({ status: reply.status, type: reply.type }).toEqual({ status: 200, type: expect.stringMatching(/^application\/json\b/) })
      expect(reply.body).toEqual({ orderId, userId, total: euros(40_000), state: 'reserved' })
    }
    expect(await reserved(userId)).toBe(40_000)
  })

  test('is 200 to each of many at once for one order, and holds the total once', async () => {
    const [userId, orderId] = [await newAccount(), newId()]
    const replies = await Promise.all(Array.from({ length: 20 }, () => put(orderId, userId, 40_000)))
    expect(replies.map(reply => reply.status)).toEqual(Array(20).fill(200))
    expect(await reserved(userId)).toBe(40_000)
  })

  test.each([0, 1, LIMIT])('takes a total of %i', async amount => {
    const userId = await newAccount()
    expect((await put(newId(), userId, amount)).status).toBe(200)
    expect(await reserved(userId)).toBe(amount)
  })

  test('with another total or another user is 409 and changes nothing', async () => {
    const [userId, otherId, orderId] = [await newAccount(), await newAccount(), newId()]
    await put(orderId, userId, 40_000)
    expectProblem(await put(orderId, userId, 40_001), 409, 'reservation-mismatch')
    expectProblem(await put(orderId, otherId, 40_000), 409, 'reservation-mismatch')
    expectProblem(await put(orderId, newId(), 40_000), 409, 'reservation-mismatch')
    expect([await reserved(userId), await reserved(otherId)]).toEqual([40_000, 0])
  })

  test('over the credit is 422, and the last cent is not over', async () => {
    const userId = await newAccount()
    expect((await put(newId(), userId, LIMIT - 1)).status).toBe(200)
    expectProblem(await put(newId(), userId, 2), 422, 'credit-exceeded')
    expect((await put(newId(), userId, 1)).status).toBe(200)
    expectProblem(await put(newId(), userId, 1), 422, 'credit-exceeded')
    expect(await reserved(userId)).toBe(LIMIT)
  })

  test('a refusal is final, even when credit is free again', async () => {
    const [userId, first, refused] = [await newAccount(), newId(), newId()]
    await put(first, userId, LIMIT)
    expectProblem(await put(refused, userId, 1), 422, 'credit-exceeded')
    await release(first)
    expectProblem(await put(refused, userId, 1), 422, 'credit-exceeded')
    expectProblem(await put(refused, userId, 2), 409, 'reservation-mismatch')
    expect(await reserved(userId)).toBe(0)
  })

  test('for a user that is not there is 404 and decides nothing', async () => {
    const orderId = newId()
    expectProblem(await put(orderId, newId(), 1), 404, 'unknown-user')
    expect(await stateOf(orderId)).toBeUndefined()
    expect((await put(orderId, await newAccount(), 1)).status).toBe(200)
  })

  test('a total up to the largest whole number is refused for want of credit, not by an overflow', async () => {
    const userId = await newAccount()
    await put(newId(), userId, 1)
    expectProblem(await put(newId(), userId, Number.MAX_SAFE_INTEGER), 422, 'credit-exceeded')
  })

  test.each([
    ['a negative total', { amount: -1, currency: 'EUR' }],
    ['half a cent', { amount: 0.5, currency: 'EUR' }],
    ['a total over 2^53 - 1', { amount: 2 ** 53, currency: 'EUR' }],
    ['a total that is text', { amount: '1', currency: 'EUR' }],
    ['another currency', { amount: 1, currency: 'USD' }],
    ['no currency', { amount: 1 }],
    ['a number alone', 1],
  ])('refuses %s', async (_name, total) => {
    const reply = await user.http('PUT', `/reservations/${newId()}`, { token: user.workloadToken, json: { userId: await newAccount(), total } })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors[0].field).toMatch(/^body\.total/)
  })

  test.each(['1', 'not-a-uuid', '0193A0C2-7B11-7A44-8F0E-2D3C4B5A6978', '0193a0c2-7b11-4a44-8f0e-2d3c4b5a6978'])(
    'refuses the id %s, which is no UUIDv7 in lower case',
    async orderId => {
      const reply = await put(orderId, await newAccount(), 1)
      expectProblem(reply, 400, 'invalid-request')
      expect(reply.body.errors).toEqual([{ field: 'path.orderId', message: 'is not a UUIDv7 in lower case' }])
      expectProblem(await release(orderId), 400, 'invalid-request')
    },
  )
})

describe('DELETE /reservations/{orderId}', () => {
  test('is 204 and gives the total back once, however often', async () => {
    const [userId, orderId, other] = [await newAccount(), newId(), newId()]
    await put(orderId, userId, 40_000)
    await put(other, userId, 30_000)
    for (let i = 0; i < 3; i++) {
      const { status, body } = await release(orderId)
      expect({ status, body }).toEqual({ status: 204, body: '' })
    }
    expect(await reserved(userId)).toBe(30_000)
  })

  test('many at once are all 204 and give the total back once', async () => {
    const [userId, orderId, other] = [await newAccount(), newId(), newId()]
    await put(orderId, userId, 40_000)
    await put(other, userId, 30_000)
    const replies = await Promise.all(Array.from({ length: 20 }, () => release(orderId)))
    expect(replies.map(reply => reply.status)).toEqual(Array(20).fill(204))
    expect(await reserved(userId)).toBe(30_000)
  })

  test('after it a PUT is refused for ever', async () => {
    const [userId, orderId] = [await newAccount(), newId()]
    await put(orderId, userId, 40_000)
    await release(orderId)
    for (let i = 0; i < 2; i++) expectProblem(await put(orderId, userId, 40_000), 409, 'reservation-released')
    expect(await reserved(userId)).toBe(0)
  })

  test('before its PUT is 204, and the PUT is then refused', async () => {
    const [userId, orderId] = [await newAccount(), newId()]
    expect((await release(orderId)).status).toBe(204)
    expectProblem(await put(orderId, userId, 40_000), 409, 'reservation-released')
    expect((await release(orderId)).status).toBe(204)
    expectProblem(await put(orderId, userId, 40_000), 409, 'reservation-released')
    expect(await reserved(userId)).toBe(0)
  })

  test('of a refused reservation is 204 and gives nothing back', async () => {
    const [userId, first, refused] = [await newAccount(), newId(), newId()]
    await put(first, userId, LIMIT)
    expectProblem(await put(refused, userId, 50_000), 422, 'credit-exceeded')
    expect((await release(refused)).status).toBe(204)
    expect([await stateOf(refused), await reserved(userId)]).toEqual(['released', LIMIT])
    expectProblem(await put(refused, userId, 50_000), 409, 'reservation-released')
  })
})

describe('many reservations at once', () => {
  /** A caller that repeats what was too late, as the order service does. */
  const insist = async (send: () => Promise<Reply>): Promise<Reply> => {
    const reply = await send()
    return reply.status >= 500 ? insist(send) : reply
  }

  test('200 PUTs of different orders never exceed the limit, and what is reserved is their sum', async () => {
    const userId = await newAccount()
    // 200 totals of 900 to 2,890: about 379,000 in all, of which 100,000 fit.
    const replies = await Promise.all(Array.from({ length: 200 }, (_, i) => insist(() => put(newId(), userId, 900 + i * 10))))
    const statuses = new Set(replies.map(reply => reply.status))
    expect(statuses).toEqual(new Set([200, 422]))
    const sum = replies.filter(reply => reply.status === 200).reduce((total, reply) => total + reply.body.total.amount, 0)
    expect(sum).toBeLessThanOrEqual(LIMIT)
    expect([await reserved(userId), await held(userId)]).toEqual([sum, sum])
  })

  test('PUT and DELETE of one order end in released with nothing held', async () => {
    const userId = await newAccount()
    const store = createReservationStore(user.db.database)
    const orders = Array.from({ length: 400 }, newId)
    // Straight at the store with time to spare: a deadlock is an error here and not a timeout.
    const outcomes = await Promise.all(
      orders.flatMap((orderId, i) => {
        const reserve = () => store.reserve(user.runtime.scope(20_000), orderId, userId, euros(1_000)).catch(error => error.code as string)
        const release = () => store.release(user.runtime.scope(20_000), orderId).catch(error => error.code as string)
        return i % 2 === 0 ? [reserve(), release(), reserve()] : [release(), reserve(), release()]
      }),
    )
    expect(new Set(outcomes.filter(outcome => outcome !== undefined))).toEqual(new Set(['reservation-released']))
    const states = await user.db.sql('select distinct state from reservations where order_id = any($1)', [orders])
    expect(states).toEqual([{ state: 'released' }])
    expect([await reserved(userId), await held(userId)]).toEqual([0, 0])
  })

  test('a storm of PUTs, repeats and DELETEs over few accounts keeps the books and meets no deadlock', async () => {
    const userIds = await Promise.all(Array.from({ length: 3 }, () => newAccount(10_000)))
    const store = createReservationStore(user.db.database)
    const orders = Array.from({ length: 60 }, (_, i) => ({ orderId: newId(), userId: userIds[i % 3] as string, total: euros(100 * (1 + (i % 9))) }))
    const expected = new Set([undefined, 'credit-exceeded', 'reservation-released'])
    const outcomes = await Promise.all(
      orders.flatMap(({ orderId, userId, total }, i) => {
        const reserve = () => store.reserve(user.runtime.scope(20_000), orderId, userId, total).catch(error => error.code as string)
        const release = () => store.release(user.runtime.scope(20_000), orderId).catch(error => error.code as string)
        return [reserve(), reserve(), ...(i % 3 === 0 ? [release(), release()] : []), reserve()]
      }),
    )
    expect(outcomes.filter(outcome => !expected.has(outcome as undefined))).toEqual([])
    for (const userId of userIds) {
      const sum = await held(userId)
      expect(await reserved(userId)).toBe(sum)
      expect(sum).toBeLessThanOrEqual(10_000)
    }
  })
})

describe.each([
  ['PUT', () => ({ json: { userId: newId(), total: euros(1) } })],
  ['DELETE', () => ({})],
])('%s /reservations/{orderId} takes workload tokens only', (method, ask) => {
  const send = (token?: string) => user.http(method, `/reservations/${newId()}`, { ...ask(), ...(token !== undefined && { token }) })
  const issuer = () => openLocalIssuer(join(user.dir, 'workload-tokens'))
  const tokenOf = async (caller: string, callee: string) => readFile(await (await issuer()).writeToken(caller, callee), 'utf8')
  const claims = { iss: LOCAL_ISSUER, aud: workloadAudience('user', LOCAL_NAMESPACE), sub: workloadSubject('order', LOCAL_NAMESPACE) }
  const header = { alg: 'ES256', kid: 'local-1' }
  const sign = async (payload: Record<string, unknown>, protectedHeader: { alg: string; kid?: string } = header) => {
    const jwk = JSON.parse(await readFile(join(user.dir, 'workload-tokens', 'issuer-key.json'), 'utf8'))
    return new SignJWT(payload)
      .setProtectedHeader(protectedHeader)
      .setIssuedAt()
      .setExpirationTime((payload.exp as string | undefined) ?? '1h')
      .sign(await importJWK(jwk, 'ES256'))
  }

  test('one of order is taken', async () => {
    expect([204, 404]).toContain((await send(await sign(claims))).status)
  })

  test('none is 401', async () => {
    const reply = await send()
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
  })

  test("a user's is 401", async () => {
    expectProblem(await send((await user.newUser()).token), 401, 'unauthorized')
  })

  test('one for another audience is 401', async () => {
    expectProblem(await send(await tokenOf('order', 'payment')), 401, 'unauthorized')
    expectProblem(await send(await sign({ ...claims, aud: 'user.elsewhere' })), 401, 'unauthorized')
  })

  test('one of a service without an edge is 403', async () => {
    expectProblem(await send(await tokenOf('payment', 'user')), 403, 'forbidden')
    expectProblem(await send(await sign({ ...claims, sub: workloadSubject('order', 'elsewhere') })), 403, 'forbidden')
  })

  test('one of another issuer, past its end or of another key is 401', async () => {
    expectProblem(await send(await sign({ ...claims, iss: 'https://elsewhere.example.org' })), 401, 'unauthorized')
    expectProblem(await send(await sign({ ...claims, exp: '10s ago' })), 401, 'unauthorized')
    const { privateKey } = await generateKeyPair('ES256')
    const forged = await new SignJWT(claims).setProtectedHeader(header).setIssuedAt().setExpirationTime('1h').sign(privateKey)
    expectProblem(await send(forged), 401, 'unauthorized')
  })

  test('one under a kid that the file of issuer keys lacks is 401: nobody burns the objective by making kids up', async () => {
    expectProblem(await send(await sign(claims, { alg: 'ES256', kid: 'local-2' })), 401, 'unauthorized')
  })
})

describe('purge()', () => {
  test('forgets refusals after 30 days and nothing else, and a later repeat is decided anew', async () => {
    const userId = await newAccount()
    const [late, recent, kept, tombstone] = [newId(), newId(), newId(), newId()]
    for (const orderId of [late, recent]) expectProblem(await put(orderId, userId, LIMIT + 1), 422, 'credit-exceeded')
    await put(kept, userId, 1_000)
    await release(tombstone)
    const age = (ids: string[], days: number) =>
      user.db.sql("update reservations set decided_at = now() - $2 * interval '1 day' where order_id = any($1)", [ids, days])
    await age([late, kept, tombstone], 31)
    await age([recent], 29)
    await createReservationStore(user.db.database).purge(user.runtime.scope())
    expect(await Promise.all([late, recent, kept, tombstone].map(stateOf))).toEqual([undefined, 'refused', 'reserved', 'released'])
    expect((await put(late, userId, 2_000)).status).toBe(200)
    expect(await reserved(userId)).toBe(3_000)
  })
})

test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
