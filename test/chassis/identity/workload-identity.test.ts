import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalJWKSet, exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { workloadAudience, workloadSubject } from '../../../services/chassis/contract/workload.ts'
import { createWorkloadVerifier, watchWorkloadToken } from '../../../services/chassis/identity/workload-identity.ts'
import { testRuntime } from '../../support/runtime.ts'

const ISSUER = 'https://kubernetes.default.svc'
const REALM = { issuer: ISSUER, service: 'stock', namespace: 'acme', callers: ['booking', 'mail'] }

type Algorithm = 'RS256' | 'ES256' | 'EdDSA'

async function newKey(alg: Algorithm, kid: string) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  return { alg, kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}
type Key = Awaited<ReturnType<typeof newKey>>

const rsa = await newKey('RS256', 'rsa')
const ec = await newKey('ES256', 'ec')
const ed = await newKey('EdDSA', 'ed')
const next = await newKey('RS256', 'next')
const jwks = (...keys: Key[]): JSONWebKeySet => ({ keys: keys.map(({ jwk }) => jwk) })

const now = () => Math.floor(Date.now() / 1_000)

/** What the kubelet projects into order's pod for calls to user, but for the differences; an undefined claim is left out. */
const token = (claims: Record<string, unknown> = {}, { alg, kid, privateKey }: Key = rsa) =>
  new SignJWT(
    JSON.parse(
      JSON.stringify({
        iss: ISSUER,
        aud: ['stock.acme'],
        sub: 'system:serviceaccount:acme:booking',
        iat: now(),
        exp: now() + 3_600,
        'kubernetes.io': { namespace: 'acme', serviceaccount: { name: 'booking' } },
        ...claims,
      }),
    ),
  )
    .setProtectedHeader({ alg, kid })
    .sign(privateKey)

function verifierWith(...keys: Key[]) {
  const runtime = testRuntime()
  const verify = createWorkloadVerifier({ ...REALM, keys: { lookup: createLocalJWKSet(jwks(...keys)), version: () => 0 } })
  return { verify: (bearer: string) => verify(bearer, runtime.scope()), errors: () => runtime.lines.filter(line => line.level === 'error') }
}

const unauthorized = {
  name: 'Failure',
  kind: 'unauthenticated',
  code: 'unauthorized',
  options: { invalidToken: true },
}
const forbidden = { name: 'Failure', kind: 'forbidden', code: 'forbidden' }

describe('names', () => {
  test('are those of Kubernetes', () => {
    expect(workloadAudience('stock', 'acme')).toBe('stock.acme')
    expect(workloadSubject('booking', 'acme')).toBe('system:serviceaccount:acme:booking')
  })
})

describe('createWorkloadVerifier', () => {
  test.each([
    ['RS256', rsa],
    ['ES256', ec],
  ])('tells the caller of a token that is signed with %s', async (_name, key) => {
    const { verify } = verifierWith(rsa, ec)
    expect(await verify(await token({}, key))).toEqual({ kind: 'workload', id: 'booking' })
    expect(await verify(await token({ sub: 'system:serviceaccount:acme:mail', aud: 'stock.acme' }, key))).toEqual({ kind: 'workload', id: 'mail' })
  })

  test('refuses a token that it has taken once the issuer takes its key away', async () => {
    let published = createLocalJWKSet(jwks(rsa))
    let version = 0
    const keys = { lookup: ((...args) => published(...args)) as typeof published, version: () => version }
    const verify = createWorkloadVerifier({ ...REALM, keys })
    const scope = testRuntime().scope()
    const bearer = await token()
    expect(await verify(bearer, scope)).toEqual({ kind: 'workload', id: 'booking' })
    published = createLocalJWKSet(jwks(next))
    version++
    await expect(verify(bearer, scope)).rejects.toMatchObject(unauthorized)
  })

  test.each([
    ['another service as audience', { aud: ['booking.acme'] }],
    ['another namespace as audience', { aud: ['user.other'] }],
    ['the API server as audience', { aud: ['https://kubernetes.default.svc'] }],
    ['no audience', { aud: undefined }],
    ['another issuer', { iss: 'https://other.example.org' }],
    ['no issuer', { iss: undefined }],
    ['an expiry that is past', { exp: now() - 60 }],
    ['no expiry', { exp: undefined }],
    ['no time of issue', { iat: undefined }],
    ['no subject', { sub: undefined }],
    ['a beginning that is not yet', { nbf: now() + 60 }],
  ])('is 401 for a token with %s', async (_name, claims) => {
    await expect(verifierWith(rsa).verify(await token(claims))).rejects.toMatchObject(unauthorized)
  })

  test.each([
    ['a service without an edge', 'system:serviceaccount:acme:admin'],
    ['a caller of another namespace', 'system:serviceaccount:other:booking'],
    ["the caller's bare name", 'booking'],
    ['a name that begins like a caller', 'system:serviceaccount:acme:booking-2'],
    ['an empty subject', ''],
  ])('is 403 for %s', async (_name, sub) => {
    await expect(verifierWith(rsa).verify(await token({ sub }))).rejects.toMatchObject(forbidden)
  })

  test("is 401 for a user's token, even when its key is among the issuer's", async () => {
    const { verify, errors } = verifierWith(rsa, ed)
    await expect(verify(await token({}, ed))).rejects.toMatchObject(unauthorized)
    const access = { iss: 'https://acme.localhost', aud: 'acme', sub: 'user-1', sid: 's', jti: 'j', client_id: 'acme' }
    await expect(verify(await token(access, ed))).rejects.toMatchObject(unauthorized)
    expect(errors()).toEqual([])
  })

  test.each([
    ['nothing', () => ''],
    ['no JWT', () => 'a.b.c'],
    ['alg none', async () => (await token()).replace(/^[^.]+/, Buffer.from('{"alg":"none","kid":"rsa"}').toString('base64url'))],
    ['HS256', () => new SignJWT({ iss: ISSUER }).setProtectedHeader({ alg: 'HS256', kid: 'unknown' }).sign(Buffer.from(rsa.jwk.n as string))],
    ['a changed payload', async () => (await token()).replace(/\.[^.]+\./, `.${Buffer.from(`{"iss":"${ISSUER}"}`).toString('base64url')}.`)],
    ['an unknown kid and a payload that is no JSON', () => `${Buffer.from('{"alg":"RS256","kid":"x"}').toString('base64url')}.bm90.bm90`],
  ])('is 401 for %s', async (_name, make) => {
    const { verify, errors } = verifierWith(rsa)
    await expect(verify(await make())).rejects.toMatchObject(unauthorized)
    expect(errors()).toEqual([])
  })

  test("is 401 for another's key under a known kid", async () => {
    await expect(verifierWith(rsa).verify(await token({}, { ...next, kid: 'rsa' }))).rejects.toMatchObject(unauthorized)
  })
})

/** Path of a file that is looked at when a test says so, not after 5 s. */
async function watchedFile() {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-workload-'))
  onTestFinished(async () => {
    vi.useRealTimers()
    await rm(dir, { recursive: true, force: true })
  })
  return join(dir, 'file')
}

/** Lets a look at the file pass, and waits until it has been read again. */
const rereads = async (lines: Record<string, unknown>[]) => {
  await vi.advanceTimersByTimeAsync(5_000)
  await vi.waitFor(() => expect(lines).toContainEqual(expect.objectContaining({ msg: 're-read' })))
}

describe('watchWorkloadToken', () => {
  test('gives the token without white space around it, and the new one when the kubelet has renewed it', async () => {
    const { log, lines } = testRuntime()
    const file = await watchedFile()
    await writeFile(file, 'first\n')
    const watched = await watchWorkloadToken(file, log)
    onTestFinished(watched.close)
    expect(watched.current()).toBe('first')
    await writeFile(file, ' second \n')
    await rereads(lines)
    expect(watched.current()).toBe('second')
  })
})
