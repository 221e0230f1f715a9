import { fileURLToPath } from 'node:url'
import type { JSONWebKeySet } from 'jose'
import type { Runtime } from '../telemetry/runtime.ts'
import { linkedSpan, traceHeaders } from '../telemetry/tracing.ts'
import { checkAccessTokens, type UserRealm, type Verifier } from './auth.ts'
import { downloadKeys, readKeys } from './download-keys.ts'
import { lookupOf } from './issuer-keys.ts'
import { createJwksCache, FILE_TIMES } from './jwks.ts'
import { rememberVerified } from './verified-tokens.ts'

const FETCH_MS = 1_500

export interface UserVerifierOptions extends UserRealm {
  /** Where the issuer's keys are: an http, https or file URL. */
  jwksUri: string
}

/**
 * Verifies users' access tokens by keys that are fetched in the background. Until they are here every token is 503, and so is one by an
 * unknown key while they cannot be fetched. One that is good is remembered for a while.
 */
export function openUserVerifier(
  { jwksUri, ...realm }: UserVerifierOptions,
  { tracer, log }: Pick<Runtime, 'tracer' | 'log'>,
): { verify: Verifier; close(): void } {
  const file = URL.parse(jwksUri)?.protocol === 'file:' ? fileURLToPath(jwksUri) : undefined
  const download = async (): Promise<JSONWebKeySet> => {
    const span = linkedSpan(tracer, 'fetch token keys', undefined)
    try {
      return await downloadKeys(jwksUri, { timeoutMs: FETCH_MS, headers: traceHeaders(span) })
    } finally {
      span.end()
    }
  }
  const keys = createJwksCache(file ? { log, fetch: () => readKeys(file), ...FILE_TIMES } : { log, fetch: download })
  return { verify: rememberVerified(keys.version, checkAccessTokens(lookupOf(keys, realm.issuer), realm)), close: keys.close }
}
