import { createLocalJWKSet, exportJWK, exportSPKI, generateKeyPair, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose'
import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineContract, type Operation } from '../../../services/chassis/contract/contract.ts'
import { createAccessTokenVerifier, type Verifiers } from '../../../services/chassis/identity/auth.ts'
import { keysUnavailable } from '../../../services/chassis/identity/jwks.ts'
import { authenticate } from '../../../services/chassis/server/authenticate.ts'
import { httpConvention } from '../../../services/chassis/server/convention.ts'
import { problems } from '../../../services/chassis/server/problem.ts'
import { matchRoute } from '../../../services/chassis/server/router.ts'
import { traceContext } from '../../../services/chassis/server/trace.ts'
import { expectProblem, type Http, httpTo, type Listening, listen, type Reply } from '../../support/http.ts'
import { testRuntime } from '../../support/runtime.ts'

const REALM = { issuer: 'https://acme.localhost', audience: 'acme' }
const CHALLENGE = 'Bearer realm="fairlead"'
const INVALID = 'Bearer realm="fairlead", error="invalid_token"'

const ours = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
const theirs = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
const rsa = await generateKeyPair('RS256', { extractable: true })
const publicJwk = { ...(await exportJWK(ours.publicKey)), kid: 'ours' }
// As a careless operator would have it: keys of other kinds in the same set.
const rsaJwk = { ...(await exportJWK(rsa.publicKey)), kid: 'rsa' }
const keys = createLocalJWKSet({ keys: [publicJwk, rsaJwk] })

const contract = defineContract({
  anybody: { method: 'GET', path: '/anybody', summary: 'For anybody', auth: 'none', responses: { 200: { description: 'Who' } } },
  user: { method: 'GET', path: '/user', summary: 'For users', auth: 'user', responses: { 200: { description: 'Who' } } },
  workload: { method: 'GET', path: '/workload', summary: 'For services', auth: 'workload', responses: { 200: { description: 'Who' } } },
})

const runtime = testRuntime()
const listenings: Listening[] = []

async function start(verifiers: Verifiers): Promise<Http> {
  const app = new Koa()
  const verifiable = Object.entries<Operation>(contract).filter(([, { auth }]) => auth === 'none' || verifiers[auth] !== undefined)
  app.use(matchRoute(contract))
  app.use(traceContext(runtime.tracer, runtime.log, httpConvention(runtime.metrics)))
  app.use(problems(runtime.log))
  app.use(authenticate(Object.fromEntries(verifiable), verifiers))
  app.use(ctx => {
    ctx.body = ctx.state.principal ?? {}
  })
  const listening = await listen(app)
  listenings.push(listening)
  return httpTo(listening.url, contract)
}

let http: Http

beforeAll(async () => {
  http = await start({ user: createAccessTokenVerifier(keys, REALM) })
})
afterAll(() => Promise.all(listenings.map(({ close }) => close())))

const now = () => Math.floor(Date.now() / 1_000)
const claims = (): JWTPayload => ({
  iss: REALM.issuer,
  aud: REALM.audience,
  sub: 'user-1',
  sid: 'session-1',
  jti: 'token-1',
  client_id: 'acme',
  iat: now(),
  exp: now() + 600,
})
const header = { alg: 'EdDSA', typ: 'at+jwt', kid: 'ours' }

type SigningKey = Parameters<SignJWT['sign']>[0]

/** An access token that is right but for the differences; a claim that is undefined is left out. */
const token = (
  different: { claims?: Record<string, unknown>; header?: Partial<JWTHeaderParameters> } = {},
  key: SigningKey = ours.privateKey,
): Promise<string> =>
  new SignJWT(JSON.parse(JSON.stringify({ ...claims(), ...different.claims })))
    .setProtectedHeader(JSON.parse(JSON.stringify({ ...header, ...different.header })))
    .sign(key)

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')

const asUser = (bearer: string) => http('GET', '/user', { token: bearer })

function expectUnauthorized(reply: Reply, challenge = INVALID) {
  expectProblem(reply, 401, 'unauthorized')
  expect(reply.headers.get('www-authenticate')).toBe(challenge)
}

describe('createAccessTokenVerifier', () => {
  test('tells the user and the session', async () => {
    const reply = await asUser(await token())
    expect({ status: reply.status, body: reply.body }).toEqual({ status: 200, body: { kind: 'user', id: 'user-1', sessionId: 'session-1' } })
  })

  test('takes the long form of the type and one audience of several', async () => {
    expect((await asUser(await token({ header: { typ: 'application/at+jwt' }, claims: { aud: ['other', 'acme'] } }))).status).toBe(200)
  })

  test('bears with clocks that are up to 5 s apart', async () => {
    expect((await asUser(await token({ claims: { exp: now() - 3 } }))).status).toBe(200)
    expect((await asUser(await token({ claims: { nbf: now() + 3 } }))).status).toBe(200)
  })

  test('tells an expired token from a wrong one', async () => {
    const reply = await asUser(await token({ claims: { exp: now() - 60 } }))
    expectUnauthorized(reply)
    expect(reply.body.detail).toBe('The token has expired')
    expect((await asUser(await token({}, theirs.privateKey))).body.detail).toBe('The token is not valid here')
  })

  test.each<[string, () => Promise<string> | string]>([
    ['alg none', () => `${encode({ ...header, alg: 'none' })}.${encode(claims())}.`],
    ['alg none with a signature', async () => `${encode({ ...header, alg: 'none' })}.${encode(claims())}.${(await token()).split('.')[2]}`],
    ['HS256 keyed with our public key as PEM', async () => token({ header: { alg: 'HS256' } }, Buffer.from(await exportSPKI(ours.publicKey)))],
    ['HS256 keyed with our public key as bytes', () => token({ header: { alg: 'HS256' } }, Buffer.from(publicJwk.x as string, 'base64url'))],
    ['RS256 with a key of the set', () => token({ header: { alg: 'RS256', kid: 'rsa' } }, rsa.privateKey)],
    ["another's key under our kid", () => token({}, theirs.privateKey)],
    ['a kid that nobody knows', () => token({ header: { kid: 'unknown' } }, theirs.privateKey)],
    ['a key that it brings itself (jwk)', async () => token({ header: { kid: 'x', jwk: await exportJWK(theirs.publicKey) } }, theirs.privateKey)],
    ['a jku', () => token({ header: { kid: 'x', jku: 'http://127.0.0.1:1/keys' } }, theirs.privateKey)],
    ['no type', () => token({ header: { typ: undefined } })],
    ['the type of an ID token', () => token({ header: { typ: 'JWT' } })],
    [
      'a crit that we do not know',
      async () => {
        const [, payload, signature] = (await token()).split('.')
        return `${encode({ ...header, crit: ['b64x'], b64x: true })}.${payload}.${signature}`
      },
    ],
    ['another issuer', () => token({ claims: { iss: 'https://evil.example.org' } })],
    ['no issuer', () => token({ claims: { iss: undefined } })],
    ['another audience', () => token({ claims: { aud: 'user.local' } })],
    ['no audience', () => token({ claims: { aud: undefined } })],
    ['an expiry that is past', () => token({ claims: { exp: now() - 6 } })],
    ['an expiry that is no number', () => token({ claims: { exp: 'tomorrow' } })],
    ['a beginning that is not yet', () => token({ claims: { nbf: now() + 60 } })],
    ...(['exp', 'sub', 'sid', 'jti', 'iat', 'client_id'] as const).map(
      name => [`no ${name}`, () => token({ claims: { [name]: undefined } })] as [string, () => Promise<string>],
    ),
    ['a changed payload', async () => (await token()).replace(/\.[^.]+\./, `.${encode({ ...claims(), sub: 'user-2' })}.`)],
    ['no signature', async () => `${(await token()).split('.', 2).join('.')}.`],
    ['two parts', async () => (await token()).split('.', 2).join('.')],
    ['a header that is not JSON', async () => `bm90.${(await token()).split('.').slice(1).join('.')}`],
    ['a payload that is not JSON', async () => `${encode(header)}.bm90.${(await token()).split('.')[2]}`],
    ['no JWT at all', () => 'abc'],
  ])('refuses a token with %s', async (_name, make) => {
    expectUnauthorized(await asUser(await make()))
  })

  test('is 503 and not 401 while there are no keys', async () => {
    const early = await start({ user: createAccessTokenVerifier(() => Promise.reject(keysUnavailable()), REALM) })
    const reply = await early('GET', '/user', { token: await token() })
    expectProblem(reply, 503, 'unavailable')
    expect(reply.headers.get('www-authenticate')).toBeNull()
  })
})

describe('authenticate()', () => {
  test('lets anybody in where the contract says so, whatever they send', async () => {
    for (const authorization of ['', 'Bearer x', 'Basic YTpi']) {
      const reply = await http('GET', '/anybody', authorization ? { headers: { authorization } } : {})
      expect({ status: reply.status, body: reply.body }).toEqual({ status: 200, body: {} })
    }
  })

  test('asks for a token where there is none', async () => {
    expectUnauthorized(await http('GET', '/user'), CHALLENGE)
  })

  test('takes the scheme in any case, with any number of spaces', async () => {
    for (const scheme of ['bearer', 'BEARER', 'Bearer  ']) {
      expect((await http('GET', '/user', { headers: { authorization: `${scheme} ${await token()}` } })).status).toBe(200)
    }
  })

  test.each(['Bearer', 'Bearer a b', 'Bearer a,b', 'Basic YTpi', 'Bearerabc', 'Token abc', 'Bearer =', 'Bearer a=b', `Bearer ${'a'.repeat(8_193)}`])(
    'refuses the header %s',
    async authorization => {
      const reply = await http('GET', '/user', { headers: { authorization } })
      expectUnauthorized(reply)
      expect(reply.body.detail).toBe('The Authorization header holds no bearer token')
    },
  )

  test('refuses two tokens', async () => {
    const good = await token()
    expectUnauthorized(await http('GET', '/user', { headers: { authorization: `Bearer ${good}, Bearer ${good}` } }))
  })

  test('refuses to begin when nobody can verify what an operation asks for', () => {
    const user = async () => ({ kind: 'user' as const, id: 'x' })
    expect(() => authenticate(contract, { user })).toThrow("workload has auth 'workload', and there is no verifier for it: give authenticate() one")
    expect(() => authenticate(contract, { workload: user })).toThrow("user has auth 'user'")
    authenticate(contract, { user, workload: user })
  })

  test('asks nothing where there is no operation', async () => {
    const reply = await http('GET', '/nowhere')
    expect({ status: reply.status, body: reply.body }).toEqual({ status: 200, body: {} })
  })
})
