import { type CryptoKey, createLocalJWKSet, type FlattenedJWSInput, type JSONWebKeySet, type JWSHeaderParameters } from 'jose'
import type { Logger } from 'pino'
import { unavailable } from '../contract/failure.ts'

/** Finds the public key for a token's header, as jose's jwtVerify wants it. */
export type KeyLookup = (header: JWSHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey>

/** Changes with the keys. */
export type KeysVersion = () => number

export const keysUnavailable = () => unavailable('Tokens cannot be checked yet; try again shortly')

export interface JwksCache {
  lookup: KeyLookup
  /** Whether keys were ever had. */
  ready(): boolean
  /** Whether the last look for keys found any: only then is a kid that is not among them unknown to the issuer. */
  answered(): boolean
  /** Another number whenever the issuer publishes other keys. */
  version: KeysVersion
  close(): void
}

export interface JwksOptions {
  fetch: () => Promise<JSONWebKeySet>
  log: Logger
  /** Keys to begin with. */
  initial?: JSONWebKeySet
  /** Background refresh, in milliseconds. @default 60000 */
  refreshMs?: number
  /** An unknown kid asks again at most this often, in milliseconds. @default 10000 */
  unknownKidMs?: number
  /** While no keys are known. @default 1000 */
  retryMs?: number
}

/** How often a file is looked at: that costs next to nothing, and the kubelet brings a new one without a word. */
export const FILE_TIMES = { refreshMs: 5_000, unknownKidMs: 1_000 }

/**
 * Keys of an issuer, fetched in the background. The last ones stay while it is away; before the first ones arrive every
 * lookup is 503, never 401: the caller's token may be good.
 */
export function createJwksCache({ fetch, log, initial, refreshMs = 60_000, unknownKidMs = 10_000, retryMs = 1_000 }: JwksOptions): JwksCache {
  let published = initial && JSON.stringify(initial)
  let keys = initial && createLocalJWKSet(initial)
  let version = 0
  let answered = false
  let askedAt = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const refresh = () => {
    asking ??= (async () => {
      askedAt = performance.now()
      try {
        const answer = await fetch()
        const text = JSON.stringify(answer)
        // The same ones stay, for they hold what was imported from each.
        if (text !== published) {
          keys = createLocalJWKSet(answer)
          published = text
          version++
        }
        answered = true
      } catch (error) {
        answered = false
        log.warn({ err: error, kept: keys !== undefined }, 'token keys cannot be fetched')
      }
    })().finally(() => {
      asking = undefined
      if (closed) return
      clearTimeout(timer)
      timer = setTimeout(refresh, keys ? refreshMs : retryMs).unref()
    })
    return asking
  }
  void refresh()

  const lookup: KeyLookup = async (header, token) => {
    if (!keys) throw keysUnavailable()
    try {
      return await keys(header, token)
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error
      if (!asking && performance.now() - askedAt < unknownKidMs) throw error
      await refresh()
      return await keys(header, token)
    }
  }
  return {
    lookup,
    ready: () => keys !== undefined,
    answered: () => answered,
    version: () => version,
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}
