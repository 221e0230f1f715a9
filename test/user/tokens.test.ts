import { createHmac, generateKeyPairSync } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { base64url, type CryptoKey, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { addSigningKey } from '../../scripts/local/credentials.ts'
import { loadConfig } from '../../services/chassis/contract/settings.ts'
import { user as userDefinition } from '../../services/user/service.ts'
import { watchSigningKeys } from '../../services/user/tokens.ts'
import { expectNoSecrets, REALM, startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { expectProblem } from '../support/http.ts'
import { silentLog } from '../support/runtime.ts'

const nowSeconds = () => Math.floor(Date.now() / 1_000)
const keysDir = (user: TestUserService) => join(user.dir, 'signing-keys')
const kidOf = (token: string) => decodeProtectedHeader(token).kid

async function readKey(user: TestUserService): Promise<JWK & { kid: string }> {
  const [file] = await readdir(keysDir(user))
  return JSON.parse(await readFile(join(keysDir(user), file as string), 'utf8'))
}

describe('an access token', () => {
  let user: TestUserService
  let jwk: JWK & { kid: string }
  let key: CryptoKey
  let customer: Awaited<ReturnType<TestUserService['newUser']>>
  let good: { sub: string; sid: string }

  beforeAll(async () => {
    user = await startUserService()
    jwk = await readKey(user)
    key = (await importJWK(jwk, 'EdDSA')) as CryptoKey
    customer = await user.newUser()
    good = { sub: customer.id, sid: decodeJwt(customer.token).sid as string }
  })
  afterAll(() => user?.close())

  const me = (token: string) => user.http('GET', '/users/me', { token })
  const claims = () => ({
    iss: REALM.issuer,
    aud: REALM.audience,
    ...good,
    client_id: REALM.audience,
    jti: 'any',
    iat: nowSeconds(),
    exp: nowSeconds() + 600,
  })
  const header = () => ({ alg: 'EdDSA', typ: 'at+jwt', kid: jwk.kid })
  const sign = (payload: Record<string, unknown>, protectedHeader: Record<string, unknown> = header(), by: CryptoKey | Uint8Array = key) =>
    new SignJWT(payload).setProtectedHeader(protectedHeader as { alg: string }).sign(by)
  const part = (value: unknown) => base64url.encode(JSON.stringify(value))
  const without = (claim: string) => Object.fromEntries(Object.entries(claims()).filter(([name]) => name !== claim))
  const hmac = (protectedHeader: unknown, secret: string | Uint8Array) => {
    const input = `${part(protectedHeader)}.${part(claims())}`
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
  }

  test('has the header and the claims of RFC 9068', () => {
    const { token, id } = customer
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'EdDSA', typ: 'at+jwt', kid: jwk.kid })
    const payload = decodeJwt(token)
    expect(payload).toEqual({
      iss: REALM.issuer,
      aud: REALM.audience,
      sub: id,
      exp: (payload.iat as number) + 300,
      iat: expect.any(Number),
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      client_id: REALM.audience,
      sid: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(Math.abs((payload.iat as number) - nowSeconds())).toBeLessThan(30)
  })

  test('has a jti of its own', async () => {
    const { body } = await user.http('POST', '/sessions/refresh', { json: { refreshToken: (await user.newUser()).refreshToken } })
    expect(decodeJwt(body.accessToken).jti).not.toBe(decodeJwt(customer.token).jti)
  })

  test('made here as the service makes them is taken, so that the refusals below are for their one difference', async () => {
    const reply = await me(await sign(claims()))
    expect({ status: reply.status, id: reply.body.id }).toEqual({ status: 200, id: customer.id })
  })

  test('is taken with the full media type as typ and within 5 seconds after its end', async () => {
    expect((await me(await sign(claims(), { ...header(), typ: 'application/at+jwt' }))).status).toBe(200)
    expect((await me(await sign({ ...claims(), exp: nowSeconds() - 1 }))).status).toBe(200)
  })

  test.each<[string, () => string | Promise<string>]>([
    ['algorithm none', () => `${part({ ...header(), alg: 'none' })}.${part(claims())}.`],
    ['algorithm None, signed', async () => `${part({ ...header(), alg: 'None' })}.${(await sign(claims())).split('.').slice(1).join('.')}`],
    ['no algorithm', async () => `${part({ typ: 'at+jwt', kid: jwk.kid })}.${(await sign(claims())).split('.').slice(1).join('.')}`],
    ['HS256 with the public key as the secret', () => hmac({ ...header(), alg: 'HS256' }, jwk.x as string)],
    ["HS256 with the public key's bytes as the secret", () => hmac({ ...header(), alg: 'HS256' }, base64url.decode(jwk.x as string))],
    ['HS256 with the key set as the secret', () => hmac({ ...header(), alg: 'HS256' }, JSON.stringify({ ...jwk, d: undefined }))],
    ['HS256 with an empty secret', () => hmac({ ...header(), alg: 'HS256' }, '')],
    ['another key under our kid', async () => sign(claims(), header(), (await generateKeyPair('EdDSA')).privateKey)],
    ['another key under a kid of its own', async () => sign(claims(), { ...header(), kid: 'mine' }, (await generateKeyPair('EdDSA')).privateKey)],
    ['another key without a kid', async () => sign(claims(), { ...header(), kid: undefined }, (await generateKeyPair('EdDSA')).privateKey)],
    ['a kid that is a path', () => sign(claims(), { ...header(), kid: '../../../../dev/null' })],
    ['a kid that is SQL', () => sign(claims(), { ...header(), kid: "' or 1=1 --" })],
    ['another algorithm under our kid', async () => sign(claims(), { ...header(), alg: 'ES256' }, (await generateKeyPair('ES256')).privateKey)],
    [
      'its own key in the header',
      async () => {
        const { privateKey, publicKey } = await generateKeyPair('EdDSA')
        return sign(claims(), { ...header(), jwk: await exportJWK(publicKey) }, privateKey)
      },
    ],
    [
      'a URL of its own keys in the header',
      async () => sign(claims(), { ...header(), jku: 'http://127.0.0.1:9/jwks.json' }, (await generateKeyPair('EdDSA')).privateKey),
    ],
    ['an RSA signature', () => rsa(part({ ...header(), alg: 'RS256' }), part(claims()))],
    [
      'a critical header that nobody knows',
      async () => `${part({ ...header(), crit: ['exp'], exp: 1 })}.${(await sign(claims())).split('.').slice(1).join('.')}`,
    ],
    ['typ JWT', () => sign(claims(), { ...header(), typ: 'JWT' })],
    ['typ of an ID token', () => sign(claims(), { ...header(), typ: 'id+jwt' })],
    ['no typ', () => sign(claims(), { ...header(), typ: undefined })],
    ['another issuer', () => sign({ ...claims(), iss: 'https://shop.example.org' })],
    ['an issuer with a slash more', () => sign({ ...claims(), iss: `${REALM.issuer}/` })],
    ['another audience', () => sign({ ...claims(), aud: 'another-shop' })],
    ['many audiences and ours not among them', () => sign({ ...claims(), aud: ['a', 'b'] })],
    ['an end 10 seconds ago', () => sign({ ...claims(), exp: nowSeconds() - 10 })],
    ['an end that is text', () => sign({ ...claims(), exp: '2999-01-01' })],
    ['a beginning in a minute', () => sign({ ...claims(), nbf: nowSeconds() + 60 })],
    ['no iss', () => sign(without('iss'))],
    ['no aud', () => sign(without('aud'))],
    ['no sub', () => sign(without('sub'))],
    ['no exp', () => sign(without('exp'))],
    ['no iat', () => sign(without('iat'))],
    ['no jti', () => sign(without('jti'))],
    ['no client_id', () => sign(without('client_id'))],
    ['no sid', () => sign(without('sid'))],
    ["another user's id over its own session", async () => sign({ ...claims(), sub: (await user.newUser()).id })],
    ['a session that never was', () => sign({ ...claims(), sid: '0193a0c2-5a3e-7cc1-9d5e-6a1f0c2b4d10' })],
    ['another payload under the signature', async () => splice(await sign(claims()), 1, part({ ...claims(), exp: nowSeconds() + 9_000 }))],
    ['another signature', async () => splice(await sign(claims()), 2, base64url.encode(new Uint8Array(64)))],
    ['a signature that is cut', async () => (await sign(claims())).slice(0, -4)],
    ['no signature', async () => splice(await sign(claims()), 2, '')],
    ['two parts', async () => (await sign(claims())).split('.').slice(0, 2).join('.')],
    ['five parts', async () => `${await sign(claims())}.a.b`],
    ['a payload that is no object', async () => splice(await sign(claims()), 1, part('text'))],
    ['a refresh token', () => customer.refreshToken],
    ["another service's workload token", () => user.workloadToken],
    ['a word', () => 'token'],
    ['9,000 letters', () => 'a'.repeat(9_000)],
  ])('is refused: %s', async (_name, make) => {
    const reply = await me(await make())
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead", error="invalid_token"')
  })

  test.each(['Basic YWRhOnNlY3JldA==', 'Bearer', 'Bearer a b', 'Bearer a,b', 'DPoP abc', 'Bearer "abc"'])(
    'an Authorization header without a bearer token is refused: %s',
    async authorization => {
      expectProblem(await user.http('GET', '/users/me', { headers: { authorization } }), 401, 'unauthorized')
    },
  )

  test('does not work as a parameter of the URL', async () => {
    expectProblem(await user.http('GET', `/users/me?access_token=${customer.token}`), 401, 'unauthorized')
  })

  test('no log line and no span has a secret of these requests', () => expectNoSecrets(user))
})

const splice = (token: string, index: number, replacement: string) =>
  token
    .split('.')
    .map((old, i) => (i === index ? replacement : old))
    .join('.')

async function rsa(head: string, payload: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const signature = await crypto.subtle.sign(
    'RSASSA-PKCS1-v1_5',
    privateKey.toCryptoKey({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['sign']),
    Buffer.from(`${head}.${payload}`),
  )
  return `${head}.${payload}.${base64url.encode(new Uint8Array(signature))}`
}

describe('signing keys', () => {
  let user: TestUserService

  beforeEach(async () => {
    // The folder is polled and keys wait for their time: both clocks are the test's, the database's goes on.
    vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] })
    user = await startUserService()
    return async () => {
      await user.close()
      vi.useRealTimers()
    }
  })

  const kids = async () => (await user.http('GET', '/.well-known/jwks.json')).body.keys.map((key: JWK) => key.kid)
  const poll = async () => {
    await vi.advanceTimersByTimeAsync(5_000)
  }
  const untilKids = (wanted: string[]) =>
    vi.waitFor(async () => expect(new Set(await kids())).toEqual(new Set(wanted)), { timeout: 5_000, interval: 20 })
  const logIn = async (customer: { email: string; password: string }) =>
    (await user.logIn(customer.email, customer.password)).body.accessToken as string
  const me = (token: string) => user.http('GET', '/users/me', { token })

  test('a new key is published at once, signs when its time has come, and tokens of the old one stay valid', async () => {
    const old = (await readKey(user)).kid
    const customer = await user.newUser()
    const start = nowSeconds()
    const next = await addSigningKey(keysDir(user), start + 300)
    await poll()
    await untilKids([old, next])
    const before = await logIn(customer)
    expect(kidOf(before)).toBe(old)
    expect(user.keys().since()).toBeLessThanOrEqual(nowSeconds())

    vi.setSystemTime(Date.now() + 301_000)
    const after = await logIn(customer)
    expect(kidOf(after)).toBe(next)
    expect(user.keys().since()).toBe(start + 300)
    expect((await me(after)).status).toBe(200)
    expect((await me(before)).status).toBe(200)
  })

  test('without the old key its tokens are refused and those of the new one are not', async () => {
    const old = (await readKey(user)).kid
    const customer = await user.newUser()
    const next = await addSigningKey(keysDir(user), nowSeconds() + 2)
    await poll()
    await untilKids([old, next])
    const fresh = await logIn(customer)
    await rm(join(keysDir(user), `${old}.json`))
    await poll()
    await untilKids([next])
    expectProblem(await me(customer.token), 401, 'unauthorized')
    expect((await me(fresh)).status).toBe(200)
  })

  test('a folder that cannot be read any more leaves the last keys in place and is logged', async () => {
    const old = (await readKey(user)).kid
    const customer = await user.newUser()
    await writeFile(join(keysDir(user), 'half.json'), '{"kty":"OKP"')
    await poll()
    await vi.waitFor(() => expect(user.runtime.lines).toContainEqual(expect.objectContaining({ level: 'warn', path: keysDir(user) })), {
      interval: 5,
    })
    expect(await kids()).toEqual([old])
    expect((await me(await logIn(customer))).status).toBe(200)
  })

  test('an access token ends after 5 minutes and is replaced by a refresh', async () => {
    const { token, refreshToken } = await user.newUser()
    vi.setSystemTime(Date.now() + 299_000)
    expect((await me(token)).status).toBe(200)
    vi.setSystemTime(Date.now() + 7_000)
    const late = await me(token)
    expectProblem(late, 401, 'unauthorized')
    expect(late.body.detail).toBe('The token has expired')
    const { body } = await user.http('POST', '/sessions/refresh', { json: { refreshToken } })
    expect((await me(body.accessToken)).status).toBe(200)
  })

  test('tokens live as long as the setting says, and expiresIn tells it', async () => {
    const terms = { ...REALM, lifetimeSeconds: 60 }
    const short = await watchSigningKeys(keysDir(user), terms, silentLog)
    const { iat = 0, exp } = decodeJwt(await short.current().sign({ userId: 'u', sessionId: 's' }))
    short.close()
    expect({ life: (exp as number) - iat, told: short.current().lifetimeSeconds }).toEqual({ life: 60, told: 60 })
  })

  test.each(['59', '901', 'ever'])('ACCESS_TOKEN_SECONDS=%s is refused at the start', value => {
    const { ACCESS_TOKEN_SECONDS } = userDefinition.settings
    expect(() => loadConfig({ ACCESS_TOKEN_SECONDS }, { ACCESS_TOKEN_SECONDS: value })).toThrow(
      'it takes the life of an access token, whole seconds, 60 to 900',
    )
  })

  test('no key, and what is no private Ed25519 key with kid and nbf, is refused at the start', async () => {
    const dir = keysDir(user)
    const jwk = await readKey(user)
    const open = async () => (await watchSigningKeys(dir, REALM, silentLog)).close()
    await rm(join(dir, `${jwk.kid}.json`))
    await expect(open()).rejects.toThrow('no *.json signing key')
    const wrong = [{ kid: undefined }, { nbf: undefined }, { nbf: '2026' }, { d: undefined }, { crv: 'Ed448' }, { kty: 'EC' }]
    for (const change of wrong) {
      await writeFile(join(dir, 'next.json'), JSON.stringify({ ...jwk, ...change }))
      await expect(open()).rejects.toThrow('next.json is not a private Ed25519 JWK with kid and nbf')
    }
    await writeFile(join(dir, 'next.json'), JSON.stringify(jwk))
    await open()
  })
})
