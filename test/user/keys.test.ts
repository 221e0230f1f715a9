import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAccessTokenVerifier } from '../../services/chassis/identity/auth.ts'
import { REALM, startUserService, type TestUserService } from '../shop/support/user-service.ts'

let user: TestUserService

beforeAll(async () => {
  user = await startUserService()
})
afterAll(() => user?.close())

describe('GET /.well-known/jwks.json', () => {
  const get = () => user.http('GET', '/.well-known/jwks.json')

  test('is a key set that anybody may keep for a minute', async () => {
    const reply = await get()
    expect({ status: reply.status, type: reply.type, cache: reply.headers.get('cache-control') }).toEqual({
      status: 200,
      type: expect.stringMatching(/^application\/json\b/),
      cache: 'public, max-age=60',
    })
  })

  test('has the public members of each key and nothing else', async () => {
    const [file] = await readdir(join(user.dir, 'signing-keys'))
    const secret = JSON.parse(await readFile(join(user.dir, 'signing-keys', file as string), 'utf8'))
    const { body } = await get()
    expect(body).toEqual({ keys: [{ kty: 'OKP', crv: 'Ed25519', kid: secret.kid, alg: 'EdDSA', use: 'sig', x: secret.x }] })
    expect(JSON.stringify(body)).not.toContain(secret.d)
  })

  test('is all that another service needs to check an access token', async () => {
    const { id, token } = await user.newUser()
    const keys = createLocalJWKSet((await get()).body)
    const { payload } = await jwtVerify(token, keys, { ...REALM, algorithms: ['EdDSA'], typ: 'at+jwt' })
    expect(payload.sub).toBe(id)
    const principal = await createAccessTokenVerifier(keys, REALM)(token, user.runtime.scope())
    expect(principal).toEqual({ kind: 'user', id, sessionId: payload.sid })
  })

  test('answers HEAD with the headers alone', async () => {
    const { status, headers, body } = await user.http('HEAD', '/.well-known/jwks.json')
    expect({ status, cache: headers.get('cache-control'), body }).toEqual({ status: 200, cache: 'public, max-age=60', body: '' })
  })
})
