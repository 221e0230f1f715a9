import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TokenAlgorithm, workloadAudience, workloadSubject } from '@fairlead/chassis'
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'

/** Who vouches for workloads where there is no cluster. */
export const LOCAL_ISSUER = 'https://localhost/workloads'
export const LOCAL_NAMESPACE = 'local'
const TOKEN_LIFETIME_SECONDS = 3_600

/** Writes a file that only its owner reads, whole or not at all. */
export async function writeSecret(path: string, content: string): Promise<void> {
  await writeFile(`${path}.part`, content, { mode: 0o600 })
  await chmod(`${path}.part`, 0o600)
  await rename(`${path}.part`, path)
}

/** A private key as JWK with a kid. */
export async function newJwk(algorithm: TokenAlgorithm, kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true, ...(algorithm === 'EdDSA' && { crv: 'Ed25519' }) })
  return { ...(await exportJWK(privateKey)), kid, alg: algorithm, use: 'sig' }
}

/** What of a key everybody may know: nothing of RFC 7518's private members. */
export const publicPart = ({ kty, crv, x, y, n, e, kid, alg, use }: JWK): JWK =>
  Object.fromEntries(Object.entries({ kty, crv, x, y, n, e, kid, alg, use }).filter(([, value]) => value !== undefined)) as unknown as JWK

/** Makes the folder of access token signing keys with a first key, unless it has one. */
export async function ensureSigningKeys(dir: string): Promise<string> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  if (!(await readdir(dir)).some(file => file.endsWith('.json'))) await addSigningKey(dir, Math.floor(Date.now() / 1_000))
  return dir
}

/** An access token signing key that is published at once and signs from `signsFrom` on (seconds). */
export async function newSigningKey(signsFrom: number): Promise<{ kid: string; json: string }> {
  const kid = `${new Date(signsFrom * 1_000).toISOString().slice(0, 10)}-${Math.random().toString(36).slice(2, 8)}`
  return { kid, json: JSON.stringify({ ...(await newJwk('EdDSA', kid)), nbf: signsFrom }) }
}

/** Adds such a key to the folder. @returns its kid */
export async function addSigningKey(dir: string, signsFrom: number): Promise<string> {
  const { kid, json } = await newSigningKey(signsFrom)
  await writeSecret(join(dir, `${kid}.json`), json)
  return kid
}

/** Issues workload tokens as a cluster's issuer does, where there is none. */
export interface LocalIssuer {
  /** Path of the public keys. */
  jwksFile: string
  /** Writes a token with which `caller` may call `callee`, good for an hour. @returns its path */
  writeToken(caller: string, callee: string): Promise<string>
}

export async function openLocalIssuer(dir: string): Promise<LocalIssuer> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const keyFile = join(dir, 'issuer-key.json')
  const jwksFile = join(dir, 'issuer-jwks.json')
  const known = await readFile(keyFile, 'utf8').catch(() => undefined)
  const jwk: JWK = known ? JSON.parse(known) : await newJwk('ES256', 'local-1')
  if (!known) await writeSecret(keyFile, JSON.stringify(jwk))
  await writeFile(jwksFile, JSON.stringify({ keys: [publicPart(jwk)] }))
  const key = await importJWK(jwk, 'ES256')
  return {
    jwksFile,
    writeToken: async (caller, callee) => {
      const path = join(dir, `${caller}-to-${callee}.token`)
      const token = await new SignJWT()
        .setProtectedHeader({ alg: 'ES256', kid: jwk.kid as string })
        .setIssuer(LOCAL_ISSUER)
        .setAudience(workloadAudience(callee, LOCAL_NAMESPACE))
        .setSubject(workloadSubject(caller, LOCAL_NAMESPACE))
        .setIssuedAt()
        .setExpirationTime(`${TOKEN_LIFETIME_SECONDS}s`)
        .sign(key)
      await writeSecret(path, token)
      return path
    },
  }
}
