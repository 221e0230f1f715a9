import { hash } from 'node:crypto'
import { ACCESS_TOKEN } from '../contract/access-token.ts'
import type { Checked, Principal } from './auth.ts'
import type { KeysVersion } from './jwks.ts'

/** Longest time without a look at the signature. */
const REMEMBER_MS = 30_000
/** Each caller's pod sends one token per callee for most of an hour, a user's client one for some minutes. */
const MAX_TOKENS = 1_000

interface Verified {
  principal: Principal
  /** By the token's own clock, in milliseconds since the epoch. */
  expiresAt: number
  /** By ours, which nobody sets. */
  forgetAt: number
}

/**
 * Remembers tokens that were verified a short while ago, by their SHA-256: a caller sends the same one with every call, and a signature costs
 * more than most of what the callee does with one. Successes only, at most 1,000, each for 30 s and never past its `exp`; all are forgotten
 * once the issuer's keys change, and what was verified by keys that changed meanwhile is not remembered.
 * @param check verifies a token that is not remembered
 */
export function rememberVerified(keysVersion: KeysVersion, check: (token: string) => Promise<Checked>): (token: string) => Promise<Principal> {
  const known = new Map<string, Verified>()
  let version = keysVersion()
  return async token => {
    if (version !== keysVersion()) known.clear()
    version = keysVersion()
    const key = hash('sha256', token, 'base64url')
    const found = known.get(key)
    if (found && Date.now() < found.expiresAt && performance.now() < found.forgetAt) return found.principal
    known.delete(key)
    const by = version
    const { principal, exp } = await check(token)
    if (by !== keysVersion()) return principal
    // The oldest first: a map keeps the order of insertion.
    if (known.size >= MAX_TOKENS) known.delete(known.keys().next().value as string)
    const expiresAt = (exp + ACCESS_TOKEN.clockToleranceSeconds) * 1_000
    known.set(key, { principal, expiresAt, forgetAt: performance.now() + REMEMBER_MS })
    return principal
  }
}
