import { errors, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { TokenAlgorithm } from '../../../services/chassis/contract/users.ts'
import { createAccessTokenVerifier } from '../../../services/chassis/identity/auth.ts'
import { lookupOf } from '../../../services/chassis/identity/issuer-keys.ts'
import type { JwksCache } from '../../../services/chassis/identity/jwks.ts'
import { openUserVerifier } from '../../../services/chassis/identity/user-keys.ts'
import { listen } from '../../support/http.ts'
import { testRuntime } from '../../support/runtime.ts'

const REALM = { issuer: 'https://id.acme.example', audience: 'acme' }
const unavailable = { name: 'Failure', kind: 'unavailable' }
const unauthorized = { name: 'Failure', kind: 'unauthenticated', code: 'unauthorized' }

async function newKey(algorithm: TokenAlgorithm) {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  return { algorithm, privateKey, jwk: { ...(await exportJWK(publicKey)), kid: algorithm, alg: algorithm, use: 'sig' } }
}
type Key = Awaited<ReturnType<typeof newKey>>
const eddsa = await newKey('EdDSA')
const rs256 = await newKey('RS256')

const token = ({ algorithm, privateKey }: Key, claims: JWTPayload = {}, typ = 'JWT', kid: string | null = algorithm) =>
  new SignJWT({ ...claims })
    .setProtectedHeader({ alg: algorithm, typ, ...(kid !== null && { kid }) })
    .setIssuer(REALM.issuer)
    .setAudience((claims.aud as string) ?? REALM.audience)
    .setSubject('ada')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(privateKey)

/** As a service of the system issues it. */
const own = (key: Key, typ = 'at+jwt') => token(key, { jti: '1', client_id: 'acme', sid: 'session' }, typ)

/** An issuer that a test switches off and on. */
async function issuer() {
  const state = { up: true, keys: [eddsa.jwk, rs256.jwk] as object[], asked: [] as (string | undefined)[] }
  const server = await listen((req, res) => {
    state.asked.push(req.headers.traceparent as string | undefined)
    if (!state.up) res.writeHead(503).end()
    else res.end(JSON.stringify({ keys: state.keys }))
  })
  onTestFinished(server.close)
  return { state, jwksUri: `${server.url}/keys` }
}

function open(jwksUri: string, algorithms?: TokenAlgorithm[]) {
  const runtime = testRuntime()
  const { verify, close } = openUserVerifier({ ...REALM, jwksUri, algorithms }, runtime)
  onTestFinished(close)
  return { runtime, verify: async (bearer: Promise<string>) => verify(await bearer, runtime.scope()) }
}

const soon = { timeout: 5_000, interval: 10 }

describe('a token by a key that is not known', () => {
  const cache = (answered: boolean): JwksCache => ({
    lookup: async () => {
      throw new errors.JWKSNoMatchingKey()
    },
    ready: () => true,
    version: () => 0,
    answered: () => answered,
    close: () => {},
  })
  const verifier = (answered: boolean, issuer = REALM.issuer) => createAccessTokenVerifier(lookupOf(cache(answered), issuer), { ...REALM, issuer })
  const { scope } = testRuntime()

  test('is 401 when the issuer was asked and does not have it, and 503 while it cannot be asked', async () => {
    await expect(verifier(true)(await own(eddsa), scope())).rejects.toMatchObject(unauthorized)
    await expect(verifier(false)(await own(eddsa), scope())).rejects.toMatchObject(unavailable)
  })

  test('is 401 in any case when it does not even say that it is of this issuer', async () => {
    await expect(verifier(false, 'https://another.example')(await own(eddsa), scope())).rejects.toMatchObject(unauthorized)
  })
})

describe('tokens of users', () => {
  test('are 503 until the keys are here, never 401, and good from then on, also while the issuer is away', async () => {
    const { state, jwksUri } = await issuer()
    state.up = false
    const { verify } = open(jwksUri)
    await vi.waitFor(() => expect(state.asked).not.toEqual([]), soon)
    await expect(verify(own(eddsa))).rejects.toMatchObject(unavailable)
    state.up = true
    await vi.waitFor(async () => expect(await verify(own(eddsa))).toEqual({ kind: 'user', id: 'ada', sessionId: 'session' }), soon)
    state.up = false
    expect(await verify(own(eddsa))).toMatchObject({ id: 'ada' })
  })

  test('of a service have the algorithm, type and claims that services give them', async () => {
    const { jwksUri } = await issuer()
    const { verify } = open(jwksUri)
    await vi.waitFor(() => verify(own(eddsa)), soon)
    for (const wrong of [own(rs256), own(eddsa, 'JWT'), token(eddsa, {}, 'at+jwt')]) await expect(verify(wrong)).rejects.toMatchObject(unauthorized)
  })

  test('of a foreign issuer are held to its algorithms and audience', async () => {
    const { jwksUri } = await issuer()
    const { verify } = open(jwksUri, ['RS256'])
    await vi.waitFor(async () => expect(await verify(token(rs256))).toEqual({ kind: 'user', id: 'ada' }), soon)
    for (const wrong of [token(eddsa), token(rs256, { aud: 'a-client' })]) await expect(verify(wrong)).rejects.toMatchObject(unauthorized)
  })

  test('need no kid where one key alone fits their algorithm, and are 401 where two do', async () => {
    const { state, jwksUri } = await issuer()
    const { verify } = open(jwksUri, ['RS256', 'EdDSA'])
    await vi.waitFor(async () => expect(await verify(token(rs256, {}, 'JWT', null))).toEqual({ kind: 'user', id: 'ada' }), soon)
    state.keys = [rs256.jwk, { ...(await newKey('RS256')).jwk, kid: 'next' }]
    const { verify: rotating } = open(jwksUri, ['RS256'])
    await vi.waitFor(async () => expect(await rotating(token(rs256))).toMatchObject({ id: 'ada' }), soon)
    await expect(rotating(token(rs256, {}, 'JWT', null))).rejects.toMatchObject(unauthorized)
  })

  test('are verified by keys whose fetch is a trace of its own', async () => {
    const { state, jwksUri } = await issuer()
    const { runtime, verify } = open(jwksUri)
    await vi.waitFor(() => verify(own(eddsa)), soon)
    const [span] = runtime.spans.getFinishedSpans().filter(({ name }) => name === 'fetch token keys')
    expect(state.asked[0]).toContain(span?.spanContext().traceId)
  })
})

test('a token that is good is verified once', async () => {
  const { jwksUri } = await issuer()
  const { verify } = open(jwksUri)
  const bearer = own(eddsa)
  await vi.waitFor(async () => expect(await verify(bearer)).toEqual({ kind: 'user', id: 'ada', sessionId: 'session' }), soon)
  const verifying = vi.spyOn(crypto.subtle, 'verify')
  onTestFinished(() => verifying.mockRestore())
  expect(await verify(bearer)).toEqual({ kind: 'user', id: 'ada', sessionId: 'session' })
  expect(verifying).not.toHaveBeenCalled()
  const other = token(eddsa, { jti: '2', client_id: 'acme', sid: 'another' }, 'at+jwt')
  expect(await verify(other)).toMatchObject({ sessionId: 'another' })
  expect(verifying).toHaveBeenCalledOnce()
})
