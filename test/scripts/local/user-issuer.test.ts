import { describe, expect, onTestFinished, test } from 'vitest'
import { openUserIssuer } from '../../../scripts/local/user-issuer.ts'
import type { ForeignIssuer, TokenAlgorithm } from '../../../services/chassis/contract/mod.ts'
import { openUserVerifier } from '../../../services/chassis/identity/user-keys.ts'
import { testRuntime } from '../../support/runtime.ts'

const foreign: ForeignIssuer = { issuer: 'https://login.example.org', audience: 'acme', jwksUri: 'https://login.example.org/keys' }
const open = async (options: Partial<ForeignIssuer> = {}) => {
  const issuer = await openUserIssuer({ ...foreign, ...options })
  onTestFinished(issuer.close)
  return issuer
}

describe('openUserIssuer', () => {
  test.each<[TokenAlgorithm[] | undefined]>([[undefined], [['EdDSA']], [['RS256', 'ES256']], [['PS256']]])(
    'gives tokens that a service of algorithms %j takes, by keys that it fetches',
    async algorithms => {
      const issuer = await open(algorithms && { algorithms })
      const runtime = testRuntime()
      const { verify, close } = openUserVerifier(
        { jwksUri: issuer.jwksUri, issuer: foreign.issuer, audience: foreign.audience, algorithms: algorithms ?? ['ES256', 'RS256'] },
        runtime,
      )
      onTestFinished(close)
      const token = await (await fetch(issuer.tokenUrl('ada'))).text()
      await expect.poll(() => verify(token, runtime.scope()).catch(error => error.code)).toMatchObject({ kind: 'user', id: 'ada' })
    },
  )

  test('has nothing else', async () => {
    const { jwksUri } = await open()
    for (const path of ['/', '/tokens/', '/tokens/a/b', `/tokens/${'a'.repeat(65)}`]) {
      const answer = await fetch(new URL(path, jwksUri))
      expect([answer.status, await answer.text()]).toEqual([404, 'try /keys or /tokens/NAME\n'])
    }
    expect((await fetch(jwksUri, { method: 'POST' })).status).toBe(404)
    const { keys } = (await (await fetch(jwksUri)).json()) as { keys: object[] }
    expect(keys[0]).not.toHaveProperty('d')
  })
})
