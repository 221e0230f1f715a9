import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addSigningKey, ensureSigningKeys, LOCAL_ISSUER, openLocalIssuer } from '../../../scripts/local/credentials.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-credentials-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

describe('ensureSigningKeys', () => {
  test('makes one private key that only its owner reads, once', async () => {
    const keys = await ensureSigningKeys(join(dir, 'keys'))
    const [file] = await readdir(keys)
    await ensureSigningKeys(keys)
    expect(await readdir(keys)).toEqual([file])
    expect((await stat(join(keys, file as string))).mode & 0o077).toBe(0)
    expect(JSON.parse(await readFile(join(keys, file as string), 'utf8'))).toMatchObject({ kty: 'OKP', crv: 'Ed25519', nbf: expect.any(Number) })
  })

  test('is joined by a key that signs later', async () => {
    const keys = await ensureSigningKeys(join(dir, 'keys'))
    const kid = await addSigningKey(keys, 4_000_000_000)
    expect(JSON.parse(await readFile(join(keys, `${kid}.json`), 'utf8'))).toMatchObject({ kid, nbf: 4_000_000_000 })
    expect(await readdir(keys)).toHaveLength(2)
  })
})

describe('openLocalIssuer', () => {
  test('writes tokens that its published keys verify, for one caller and one callee', async () => {
    const issuer = await openLocalIssuer(dir)
    const path = await issuer.writeToken('booking', 'stock')
    const keys = createLocalJWKSet(JSON.parse(await readFile(issuer.jwksFile, 'utf8')))
    const { payload } = await jwtVerify(await readFile(path, 'utf8'), keys, { issuer: LOCAL_ISSUER, audience: 'stock.local', algorithms: ['ES256'] })
    expect(payload.sub).toBe('system:serviceaccount:local:booking')
    expect((payload.exp as number) - (payload.iat as number)).toBe(3_600)
    expect((await stat(path)).mode & 0o077).toBe(0)
  })

  test('publishes no private part and keeps its key', async () => {
    const first = await openLocalIssuer(dir)
    const published = await readFile(first.jwksFile, 'utf8')
    expect(JSON.parse(published).keys[0]).not.toHaveProperty('d')
    const second = await openLocalIssuer(dir)
    expect(await readFile(second.jwksFile, 'utf8')).toBe(published)
    expect(decodeJwt(await readFile(await second.writeToken('a', 'b'), 'utf8')).aud).toBe('b.local')
  })
})
