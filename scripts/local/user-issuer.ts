import { randomUUID } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ForeignIssuer, foreignIssuerOf, type SystemDefinition } from '@fairlead/chassis'
import { ISSUER_STAND_IN } from '@fairlead/infra/tools'
import { importJWK, type JWK, SignJWT } from 'jose'
import { newJwk, publicPart, writeSecret } from './credentials.ts'

/** Stands in for an issuer outside the system, whose users cannot log in on this machine or on kind. Whoever has its key could be any user there. */
export interface UserIssuer {
  /** Its public key, as a JWK Set. */
  jwks: string
  /** An access token of a user, good for an hour. */
  tokenOf(user: string): Promise<string>
}

const LIFETIME = '1h'
const KEY_FILE = 'key.json'

/** Where a project keeps the key of its stand-in, unless it is told otherwise. */
export const USER_ISSUER_DIR = join('.data', ISSUER_STAND_IN)

/** The stand-in whose key is in a folder. @returns undefined where no key is there that the system's issuer could have */
export async function readUserIssuer(dir: string, foreign: ForeignIssuer): Promise<UserIssuer | undefined> {
  const text = await readFile(join(dir, KEY_FILE), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const jwk: JWK = JSON.parse(text)
  return (algorithmsOf(foreign) as (string | undefined)[]).includes(jwk.alg) ? issuerWith(jwk, foreign) : undefined
}

/** The stand-in of a system whose users come from elsewhere, with a key that is made if need be. @returns undefined for any other system */
export async function ensureUserIssuer(dir: string, system: Pick<SystemDefinition, 'users'>): Promise<UserIssuer | undefined> {
  const foreign = foreignIssuerOf(system)
  if (!foreign) return undefined
  const known = await readUserIssuer(dir, foreign)
  if (known) return known
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const jwk = await newJwk(algorithmsOf(foreign)[0] ?? 'ES256', randomUUID())
  await writeSecret(join(dir, KEY_FILE), JSON.stringify(jwk))
  return issuerWith(jwk, foreign)
}

const algorithmsOf = ({ algorithms = ['ES256', 'RS256'] }: ForeignIssuer) => algorithms

const issuerWith = (jwk: JWK, { issuer, audience }: ForeignIssuer): UserIssuer => ({
  jwks: JSON.stringify({ keys: [publicPart(jwk)] }),
  tokenOf: async user =>
    new SignJWT()
      .setProtectedHeader({ alg: jwk.alg as string, kid: jwk.kid as string, typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(user)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime(LIFETIME)
      .sign(await importJWK(jwk)),
})
