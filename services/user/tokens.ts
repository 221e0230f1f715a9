import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ACCESS_TOKEN, newId, type TokenRealm } from '@fairlead/chassis'
import { type KeyLookup, type Watched, watchPath } from '@fairlead/chassis/identity'
import { type CryptoKey, createLocalJWKSet, importJWK, type JWK, SignJWT } from 'jose'
import type { Logger } from 'pino'

/**
 * A private Ed25519 JWK with `kid`, and `nbf`: the second from which it signs. It is published from the moment it is mounted, so
 * that verifiers know it before they meet it; the one before stays mounted until its last token has expired.
 */
interface SigningKey {
  jwk: JWK & { kid: string; nbf: number }
  key: CryptoKey
}

export interface SigningKeys {
  sign(claims: { userId: string; sessionId: string }): Promise<string>
  /** How long what it signs lives. */
  lifetimeSeconds: number
  publicJwks: { keys: JWK[] }
  /** From when the key that signs now does so, in seconds of Unix time. */
  since(): number
  lookup: KeyLookup
}

/** What tokens say of whom they are from and for, and how long they live. */
export interface TokenTerms extends TokenRealm {
  /** @default ACCESS_TOKEN.lifetimeSeconds */
  lifetimeSeconds?: number
}

/** Follows a folder of `*.json` keys. */
export const watchSigningKeys = (path: string, terms: TokenTerms, log: Logger): Promise<Watched<SigningKeys>> =>
  watchPath({ path, log, read: dir => readSigningKeys(dir, terms) })

async function readSigningKeys(dir: string, terms: TokenTerms): Promise<SigningKeys> {
  const files = (await readdir(dir)).filter(file => file.endsWith('.json'))
  const keys = await Promise.all(files.map(async file => toSigningKey(file, JSON.parse(await readFile(join(dir, file), 'utf8')))))
  if (keys.length === 0) throw new Error(`${dir} has no *.json signing key`)
  return createSigningKeys(keys, terms)
}

async function toSigningKey(file: string, jwk: JWK & { nbf?: unknown }): Promise<SigningKey> {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519' || !jwk.d || !jwk.kid || typeof jwk.nbf !== 'number') {
    throw new Error(`${file} is not a private Ed25519 JWK with kid and nbf`)
  }
  return { jwk: jwk as SigningKey['jwk'], key: (await importJWK(jwk, ACCESS_TOKEN.algorithm)) as CryptoKey }
}

function createSigningKeys(keys: SigningKey[], { issuer, audience, lifetimeSeconds = ACCESS_TOKEN.lifetimeSeconds }: TokenTerms): SigningKeys {
  const newestFirst = [...keys].sort((a, b) => b.jwk.nbf - a.jwk.nbf || (a.jwk.kid < b.jwk.kid ? -1 : 1))
  const publicJwks = {
    keys: newestFirst.map(({ jwk: { kty, crv, x, kid } }) => ({
      kty: kty as string,
      crv: crv as string,
      x: x as string,
      kid,
      alg: ACCESS_TOKEN.algorithm,
      use: 'sig',
    })),
  }
  const signerAt = (now: number) => newestFirst.find(({ jwk }) => jwk.nbf <= now) ?? newestFirst.at(-1)
  return {
    lifetimeSeconds,
    publicJwks,
    lookup: createLocalJWKSet(publicJwks),
    since: () => signerAt(Date.now() / 1_000)?.jwk.nbf ?? 0,
    sign: ({ userId, sessionId }) => {
      const now = Math.floor(Date.now() / 1_000)
      const signer = signerAt(now)
      return new SignJWT({ sid: sessionId, client_id: audience })
        .setProtectedHeader({ alg: ACCESS_TOKEN.algorithm, typ: ACCESS_TOKEN.typ, kid: signer?.jwk.kid ?? '' })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(userId)
        .setJti(newId())
        .setIssuedAt(now)
        .setExpirationTime(now + lifetimeSeconds)
        .sign(signer?.key as CryptoKey)
    },
  }
}

/** 256 random bits; only their hash is stored. */
export function newRefreshToken(): { token: string; hash: Buffer } {
  const token = randomBytes(32).toString('base64url')
  return { token, hash: refreshTokenHash(token) }
}

export const refreshTokenHash = (token: string): Buffer => createHash('sha256').update(token).digest()
