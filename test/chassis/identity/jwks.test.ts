import { exportJWK, generateKeyPair, type JSONWebKeySet, type JWK, jwtVerify, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createJwksCache, type JwksOptions } from '../../../services/chassis/identity/jwks.ts'
import { testRuntime } from '../../support/runtime.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A key with its public half and a token that it signed. */
async function newKey(kid: string): Promise<{ jwk: JWK; token: string }> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  return {
    jwk: { ...(await exportJWK(publicKey)), kid, alg: 'EdDSA', use: 'sig' },
    token: await new SignJWT({ kid }).setProtectedHeader({ alg: 'EdDSA', kid }).sign(privateKey),
  }
}

const A = await newKey('a')
const B = await newKey('b')

const answer =
  (...keys: { jwk: JWK }[]) =>
  async (): Promise<JSONWebKeySet> => ({ keys: keys.map(({ jwk }) => jwk) })
const fail = () => Promise.reject(new Error('connect ECONNREFUSED'))

function cacheOf(first: JwksOptions['fetch'], options: Partial<JwksOptions> = {}) {
  const runtime = testRuntime()
  const fetch = vi.fn(first)
  const cache = createJwksCache({ fetch, log: runtime.log, refreshMs: 60_000, unknownKidMs: 10_000, retryMs: 1_000, ...options })
  onTestFinished(cache.close)
  return { cache, fetch, runtime, kidOf: async ({ token }: { token: string }) => (await jwtVerify(token, cache.lookup)).payload.kid }
}

const settle = () => vi.advanceTimersByTimeAsync(0)

describe('cache.lookup', () => {
  test('finds the key of a token', async () => {
    const { kidOf, cache } = cacheOf(answer(A, B))
    await settle()
    expect(cache.ready()).toBe(true)
    expect([await kidOf(A), await kidOf(B)]).toEqual(['a', 'b'])
  })

  test('has another version once other keys are published, and not for the same ones', async () => {
    const { cache, fetch } = cacheOf(answer(A))
    await settle()
    const first = cache.version()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(fetch).toHaveBeenCalledTimes(2)
    expect(cache.version()).toBe(first)
    fetch.mockImplementation(answer(A, B))
    await vi.advanceTimersByTimeAsync(60_000)
    expect(cache.version()).not.toBe(first)
  })

  test('is 503 before the first keys, and asks for them each retryMs', async () => {
    const { kidOf, cache, fetch, runtime } = cacheOf(fail)
    const unavailable = { name: 'Failure', kind: 'unavailable', code: 'unavailable', options: { retryAfterSeconds: 1 } }
    await expect(kidOf(A)).rejects.toMatchObject(unavailable)
    await settle()
    await expect(kidOf(A)).rejects.toMatchObject(unavailable)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(fetch).toHaveBeenCalledTimes(3)
    expect(cache.ready()).toBe(false)
    expect(runtime.lines).toHaveLength(3)
    expect(runtime.lines[0]).toMatchObject({ level: 'warn', msg: 'token keys cannot be fetched', kept: false })
    fetch.mockImplementation(answer(A))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(cache.ready()).toBe(true)
    expect(await kidOf(A)).toBe('a')
  })

  test('takes new keys each refreshMs, without being asked', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    fetch.mockImplementation(answer(B))
    await vi.advanceTimersByTimeAsync(59_999)
    expect(fetch).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(fetch).toHaveBeenCalledTimes(2)
    expect(await kidOf(B)).toBe('b')
    await expect(kidOf(A)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' })
  })

  test.each([
    ['cannot be fetched', fail],
    ['are no key set', async () => ({ keys: 'none' }) as unknown as JSONWebKeySet],
  ])('keeps the last keys while new ones %s, and recovers', async (_name, broken) => {
    const { kidOf, fetch, cache, runtime } = cacheOf(answer(A))
    await settle()
    fetch.mockImplementation(broken)
    await vi.advanceTimersByTimeAsync(600_000)
    expect(fetch).toHaveBeenCalledTimes(11)
    expect(cache.ready()).toBe(true)
    expect(await kidOf(A)).toBe('a')
    expect(runtime.lines.at(-1)).toMatchObject({ level: 'warn', kept: true })
    fetch.mockImplementation(answer(B))
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await kidOf(B)).toBe('b')
  })

  test('asks again at once for an unknown kid, at most every unknownKidMs', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    fetch.mockImplementation(answer(A, B))
    await vi.advanceTimersByTimeAsync(9_999)
    await expect(kidOf(B)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' })
    expect(fetch).toHaveBeenCalledTimes(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(await kidOf(B)).toBe('b')
    expect(fetch).toHaveBeenCalledTimes(2)
  })

  test('asks once for many unknown kids', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    await vi.advanceTimersByTimeAsync(10_000)
    const lookups = await Promise.allSettled(Array.from({ length: 50 }, () => kidOf(B)))
    expect(lookups.every(lookup => lookup.status === 'rejected')).toBe(true)
    await expect(kidOf(B)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' })
    expect(fetch).toHaveBeenCalledTimes(2)
  })

  test('lets all who have an unknown kid wait for the answer to the first of them', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    await vi.advanceTimersByTimeAsync(10_000)
    const gate = Promise.withResolvers<void>()
    fetch.mockImplementation(() => gate.promise.then(answer(A, B)))
    const lookups = Promise.all(Array.from({ length: 20 }, () => kidOf(B)))
    await vi.waitFor(() => expect(fetch).toHaveBeenCalledTimes(2))
    gate.resolve()
    expect(await lookups).toEqual(Array(20).fill('b'))
    expect(fetch).toHaveBeenCalledTimes(2)
  })

  test('answers for a known kid while it asks for an unknown one', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    await vi.advanceTimersByTimeAsync(10_000)
    const gate = Promise.withResolvers<JSONWebKeySet>()
    fetch.mockImplementation(() => gate.promise)
    const unknown = kidOf(B)
    expect(await kidOf(A)).toBe('a')
    gate.resolve(await answer(A, B)())
    expect(await unknown).toBe('b')
  })

  test('of an unknown kid while the keys cannot be fetched is still an unknown kid', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    fetch.mockImplementation(fail)
    await vi.advanceTimersByTimeAsync(10_000)
    await expect(kidOf(B)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' })
    expect(await kidOf(A)).toBe('a')
  })

  test('unknown kids one after another ask an issuer that is away no more often than one that answers', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    fetch.mockImplementation(fail)
    await vi.advanceTimersByTimeAsync(10_000)
    for (let i = 0; i < 20; i++) await expect(kidOf(B)).rejects.toMatchObject({ code: 'ERR_JWKS_NO_MATCHING_KEY' })
    expect(fetch).toHaveBeenCalledTimes(2)
    expect(await kidOf(A)).toBe('a')
  })

  test('an ask for an unknown kid does not bring the next refresh nearer or multiply it', async () => {
    const { kidOf, fetch } = cacheOf(answer(A))
    await settle()
    await vi.advanceTimersByTimeAsync(30_000)
    await kidOf(B).catch(() => {})
    expect(fetch).toHaveBeenCalledTimes(2)
    await vi.advanceTimersByTimeAsync(59_999)
    expect(fetch).toHaveBeenCalledTimes(2)
    await vi.advanceTimersByTimeAsync(1)
    expect(fetch).toHaveBeenCalledTimes(3)
  })
})

describe('cache.close', () => {
  test('ends asking, even when an answer is under way', async () => {
    const gate = Promise.withResolvers<JSONWebKeySet>()
    const { cache, fetch } = cacheOf(() => gate.promise)
    cache.close()
    gate.resolve(await answer(A)())
    await vi.advanceTimersByTimeAsync(600_000)
    expect(fetch).toHaveBeenCalledTimes(1)
    expect(vi.getTimerCount()).toBe(0)
  })
})
