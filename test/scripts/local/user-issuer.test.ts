import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ensureUserIssuer, readUserIssuer } from '../../../scripts/local/user-issuer.ts'
import type { ForeignIssuer, TokenAlgorithm } from '../../../services/chassis/contract/mod.ts'
import { openUserVerifier } from '../../../services/chassis/identity/user-keys.ts'
import { testRuntime } from '../../support/runtime.ts'

const foreign: ForeignIssuer = { issuer: 'https://login.example.org', audience: 'acme', jwksUri: 'https://login.example.org/keys' }

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  return join(dir, 'issuer-stand-in')
}

/** What a service that has the key as a file makes of a token. */
async function verifierOf(jwks: string, algorithms: readonly TokenAlgorithm[] = ['ES256', 'RS256']) {
  const file = join(await mkdtemp(join(tmpdir(), 'fairlead-')), 'jwks.json')
  await writeFile(file, jwks)
  const runtime = testRuntime()
  const { verify, close } = openUserVerifier({ ...foreign, jwksUri: pathToFileURL(file).href, algorithms }, runtime)
  onTestFinished(close)
  return (token: string) => verify(token, runtime.scope()).catch(error => error.code)
}

describe('ensureUserIssuer', () => {
  test.each<[TokenAlgorithm[] | undefined]>([[undefined], [['EdDSA']], [['RS256', 'ES256']], [['PS256']]])(
    'gives tokens that a service of algorithms %j takes',
    async algorithms => {
      const issuer = await ensureUserIssuer(await folder(), { users: { ...foreign, ...(algorithms && { algorithms }) } })
      if (!issuer) throw new Error('nobody stands in')
      const verify = await verifierOf(issuer.jwks, algorithms)
      const token = await issuer.tokenOf('ada')
      await expect.poll(() => verify(token)).toMatchObject({ kind: 'user', id: 'ada' })
    },
  )

  test('keeps its key for the next time, in a file that only its owner reads, and publishes nothing private of it', async () => {
    const dir = await folder()
    const first = await ensureUserIssuer(dir, { users: foreign })
    expect((await ensureUserIssuer(dir, { users: foreign }))?.jwks).toBe(first?.jwks)
    expect((await readUserIssuer(dir, foreign))?.jwks).toBe(first?.jwks)
    expect((await stat(join(dir, 'key.json'))).mode & 0o777).toBe(0o600)
    expect(Object.keys(JSON.parse(first?.jwks ?? '').keys[0]).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  })

  test('takes another key when the issuer signs in another way by now', async () => {
    const dir = await folder()
    await ensureUserIssuer(dir, { users: foreign })
    expect(await readUserIssuer(dir, { ...foreign, algorithms: ['EdDSA'] })).toBeUndefined()
    const changed = await ensureUserIssuer(dir, { users: { ...foreign, algorithms: ['EdDSA'] } })
    expect(JSON.parse(changed?.jwks ?? '').keys[0].alg).toBe('EdDSA')
  })

  test('is not there for a system whose users are its own', async () => {
    const dir = await folder()
    expect(await ensureUserIssuer(dir, {})).toBeUndefined()
    await expect(stat(dir)).rejects.toThrow('ENOENT')
  })
})
