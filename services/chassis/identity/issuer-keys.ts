import { decodeJwt, errors, type FlattenedJWSInput } from 'jose'
import type { Runtime } from '../telemetry/runtime.ts'
import { downloadKeys, readKeys } from './download-keys.ts'
import { createJwksCache, FILE_TIMES, type JwksCache, type KeyLookup, type KeysVersion, keysUnavailable } from './jwks.ts'

const FETCH_MS = 5_000

export interface IssuerKeysOptions {
  issuer: string
  /** Path of a file, or an https URL. */
  source: string
  /** Path of the certificates of the authorities that may vouch for the URL. @default Node's own */
  caFile?: string | undefined
}

export interface IssuerKeys {
  lookup: KeyLookup
  version: KeysVersion
  close(): void
}

const isUrl = (source: string): boolean => source.includes('://')

/**
 * The keys of the cluster's token issuer, followed as it rotates them. A token of this issuer whose key is not known after one more look
 * is 401 and counted; it is 503 while nobody can tell, because the last look failed.
 * @throws Error when a file cannot be read; a URL is asked until it answers
 */
export async function openIssuerKeys(
  { issuer, source, caFile }: IssuerKeysOptions,
  { log, metrics }: Pick<Runtime, 'log' | 'metrics'>,
): Promise<IssuerKeys> {
  const unknown = metrics.counter('workload_unknown_key_total', 'Workload tokens of the issuer whose key it does not publish', [], [{}])
  const cache = isUrl(source)
    ? createJwksCache({ log, fetch: () => downloadKeys(source, { timeoutMs: FETCH_MS, caFile }) })
    : createJwksCache({ log, fetch: () => readKeys(source), initial: await readKeys(source), ...FILE_TIMES })
  const lookup = lookupOf(cache, issuer, kid => {
    unknown.inc()
    log.error({ kid: kid?.slice(0, 100), source }, 'workload token signed with a key that the issuer does not publish')
  })
  return { lookup, version: cache.version, close: cache.close }
}

/** A token that says it is the issuer's, by a key that is not known, is 503 while nobody can tell: the last look for keys failed. */
export const lookupOf =
  (cache: JwksCache, issuer: string, onUnknown: (kid: string | undefined) => void = () => {}): KeyLookup =>
  async (header, token) => {
    try {
      return await cache.lookup(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || claimedIssuer(token) !== issuer) throw error
      if (!cache.answered()) throw keysUnavailable()
      onUnknown(header.kid)
      throw error
    }
  }

const claimedIssuer = ({ payload }: FlattenedJWSInput) => decodeJwt(`.${payload}.`).iss
