import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { requireKey } from '../../../services/chassis/contract/idempotency-key.ts'
import { newId } from '../../../services/chassis/contract/ids.ts'
import { claimKey, fingerprintOf, purgeKeys, recordAnswer, recordKey } from '../../../services/chassis/data/idempotency.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

let runtime: TestRuntime
let db: TestDatabase

beforeAll(async () => {
  runtime = testRuntime()
  db = await testDatabase('stock', { runtime })
})
afterAll(() => db?.close())
beforeEach(() => db.sql('delete from idempotency_keys'))

const SUBJECT = newId()
const FIRST = { status: 201, body: '{"id":1}', location: '/bookings/1' }

interface Request {
  owner?: string
  key?: string
  body?: unknown
}

const toKey = ({ owner = 'ada', key = 'k', body = { a: 1 } }: Request) => ({ owner, key, fingerprint: fingerprintOf(body) })

/** Looks the key up in a transaction of its own. */
const claim = (request: Request = {}) => {
  const scope = runtime.scope()
  return db.database.transaction(scope, queries => claimKey(queries, scope, toKey(request)))
}

const record = ({ aliveMs = 60_000, subjectId = SUBJECT, ...request }: Request & { aliveMs?: number; subjectId?: string } = {}) =>
  recordKey(db.database, runtime.scope(), { ...toKey(request), subjectId, aliveMs })

const answer = (answered = FIRST, { owner = 'ada', key = 'k' }: Request = {}) => recordAnswer(db.database, runtime.scope(), owner, key, answered)

const age = (interval: string) => db.sql(`update idempotency_keys set created_at = now() - interval '${interval}'`)

const conflict = { kind: 'conflict', code: 'idempotency-conflict', options: { retryAfterSeconds: 1 } }

describe('claimKey', () => {
  test('an unknown key is new', async () => {
    expect(await claim()).toEqual({ kind: 'new' })
  })

  test('a key whose first request is under way is 409', async () => {
    await record()
    await expect(claim()).rejects.toMatchObject(conflict)
  })

  test('a key whose first request died before it answered leads to what that one began', async () => {
    await record({ aliveMs: 0 })
    expect(await claim()).toEqual({ kind: 'died', subjectId: SUBJECT })
  })

  test('an answered key gives the answer, whether or not the first request may still be alive', async () => {
    await record()
    await answer()
    expect(await claim()).toEqual({ kind: 'answered', answer: FIRST })
    await db.sql("update idempotency_keys set alive_until = now() - interval '1 hour'")
    expect(await claim()).toEqual({ kind: 'answered', answer: FIRST })
  })

  test('the first answer stays and is told to whoever comes second', async () => {
    await record()
    expect(await answer()).toEqual(FIRST)
    expect(await answer({ status: 202, body: '{}', location: '/bookings/2' })).toEqual(FIRST)
    expect(await claim()).toEqual({ kind: 'answered', answer: FIRST })
  })

  test.each([
    ['under way', async () => record()],
    ['dead', async () => record({ aliveMs: 0 })],
    ['answered', async () => record().then(() => answer())],
  ])('another body under the key of a request that is %s is 422', async (_name, prepare) => {
    await prepare()
    await expect(claim({ body: { a: 2 } })).rejects.toMatchObject({ kind: 'refused', code: 'idempotency-key-reused' })
  })

  test('a key belongs to its owner', async () => {
    await record()
    await answer()
    expect(await claim({ owner: 'bob', body: { b: 2 } })).toEqual({ kind: 'new' })
    await record({ owner: 'bob', body: { b: 2 } })
    await expect(claim({ owner: 'bob', body: { b: 2 } })).rejects.toMatchObject(conflict)
    expect(await claim()).toEqual({ kind: 'answered', answer: FIRST })
  })

  test('a key is told from the same letters in another case', async () => {
    await record({ key: 'k' })
    expect(await claim({ key: 'K' })).toEqual({ kind: 'new' })
  })

  test('a key lives for 24 hours', async () => {
    await record()
    await answer()
    await age('23 hours 59 minutes')
    expect(await claim()).toEqual({ kind: 'answered', answer: FIRST })
    await age('24 hours 1 second')
    expect(await claim({ body: { other: true } })).toEqual({ kind: 'new' })
  })

  test('an expired key starts over, without its old answer', async () => {
    await record()
    await answer()
    await age('25 hours')
    const subjectId = newId()
    await record({ body: { other: true }, subjectId, aliveMs: 0 })
    expect(await claim({ body: { other: true } })).toEqual({ kind: 'died', subjectId })
    await answer({ status: 202, body: '{"id":2}', location: '/bookings/2' })
    expect(await claim({ body: { other: true } })).toMatchObject({ kind: 'answered', answer: { status: 202 } })
  })

  test('while one transaction has the key, others get 409 at once, before anything is written', async () => {
    const scope = runtime.scope()
    await db.database.transaction(scope, async queries => {
      expect(await claimKey(queries, scope, toKey({}))).toEqual({ kind: 'new' })
      const others = await Promise.allSettled([claim(), claim(), claim(), claim()])
      expect(others.map(other => other.status === 'rejected' && other.reason)).toEqual(Array(4).fill(expect.objectContaining(conflict)))
      expect(await claim({ key: 'another' })).toEqual({ kind: 'new' })
      expect(await claim({ owner: 'bob' })).toEqual({ kind: 'new' })
    })
    expect(await claim()).toEqual({ kind: 'new' })
  })

  test('of many claims at once one is new and the others are 409', async () => {
    const begin = () => {
      const scope = runtime.scope()
      return db.database.transaction(scope, async queries => {
        const claimed = await claimKey(queries, scope, toKey({}))
        await recordKey(queries, scope, { ...toKey({}), subjectId: newId(), aliveMs: 60_000 })
        return claimed
      })
    }
    for (let round = 0; round < 5; round++) {
      await db.sql('delete from idempotency_keys')
      const results = await Promise.allSettled(Array.from({ length: 8 }, begin))
      const won = results.filter(result => result.status === 'fulfilled')
      expect(won.map(result => result.value)).toEqual([{ kind: 'new' }])
      for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject(conflict)
    }
  })
})

describe('purgeKeys', () => {
  test('removes keys that are older than 24 hours and no others', async () => {
    await record({ key: 'old' })
    await age('24 hours 1 second')
    await record({ key: 'young' })
    await purgeKeys(db.database, runtime.scope())
    expect(await db.sql('select key from idempotency_keys')).toEqual([{ key: 'young' }])
  })
})

describe('fingerprintOf', () => {
  const json = fc.jsonValue({ maxDepth: 4 }).map(value => JSON.parse(JSON.stringify(value)) as unknown)

  /** The same value with the members of each object in another order. */
  const reversed = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(reversed)
    if (typeof value !== 'object' || value === null) return value
    return JSON.parse(
      `{${Object.entries(value)
        .toReversed()
        .map(([name, member]) => `${JSON.stringify(name)}:${JSON.stringify(reversed(member))}`)
        .join(',')}}`,
    )
  }

  test('is the SHA-256 of the canonical form', () => {
    expect(fingerprintOf({ b: [1.0, 'ü'], a: null }).toString('hex')).toBe(
      // printf '%s' '{"a":null,"b":[1,"ü"]}' | sha256sum
      '6bafd57c7869b3aca54e576a5157b40cc195c8486124cab93d52f1b59556838e',
    )
  })

  test('is the same whatever the order of members and the white space', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(0, 1, 4, '\t'), (value, space) => {
        const spelled = JSON.parse(JSON.stringify(reversed(value), null, space))
        expect(fingerprintOf(spelled).equals(fingerprintOf(value))).toBe(true)
      }),
    )
  })

  test('differs for different values', () => {
    fc.assert(
      fc.property(json, json, (one, other) => {
        fc.pre(!isDeepStrictEqual(one, other))
        expect(fingerprintOf(one).equals(fingerprintOf(other))).toBe(false)
      }),
    )
  })

  test.each([
    [{ a: 1 }, { a: '1' }],
    [{ a: null }, {}],
    [
      [1, 2],
      [2, 1],
    ],
    [{ a: { b: 1 } }, { b: { a: 1 } }],
    ['é', 'e\u0301'],
  ])('tells %j from %j', (one, other) => {
    expect(fingerprintOf(one).equals(fingerprintOf(other))).toBe(false)
  })
})

describe('requireKey', () => {
  test.each(['k', '0193a4b2-7c1d-7000-8000-000000000000', '!~"\\', 'k'.repeat(255)])('takes %s', key => {
    expect(requireKey(key)).toBe(key)
  })

  test('asks for a key', () => {
    expect(() => requireKey('')).toThrow(expect.objectContaining({ kind: 'invalid', code: 'idempotency-key-required' }))
  })

  test.each([
    ['a space', 'a b'],
    ['256 characters', 'k'.repeat(256)],
    ['a tab', 'a\tb'],
    ['DEL', 'a\x7f'],
    ['NUL', '\0'],
    ['a letter beyond ASCII', 'schlüssel'],
    ['a line break at its end', 'k\n'],
  ])('refuses %s', (_name, key) => {
    expect(() => requireKey(key)).toThrow(
      expect.objectContaining({
        kind: 'invalid',
        code: 'invalid-request',
        options: { extra: { errors: [expect.objectContaining({ field: 'header.idempotency-key' })] } },
      }),
    )
  })
})
