import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { ensureAuthority, issueCertificate } from '../../../scripts/cluster/certificates.ts'
import { loadConfig } from '../../../services/chassis/contract/settings.ts'
import { openWorkloadVerifier } from '../../../services/chassis/identity/workload-identity.ts'
import { workloadConfig } from '../../../services/chassis/run/config.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

const ISSUER = 'https://kubernetes.default.svc'

async function newKey(kid: string) {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true })
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' } }
}
type Key = Awaited<ReturnType<typeof newKey>>
const jwks = (...keys: Key[]): JSONWebKeySet => ({ keys: keys.map(({ jwk }) => jwk) })

const old = await newKey('old')
const next = await newKey('next')

/** As the kubelet projects it into order's pod for calls to user. */
const token = ({ kid, privateKey }: Key, issuer = ISSUER) =>
  new SignJWT()
    .setProtectedHeader({ alg: 'RS256', kid })
    .setIssuer(issuer)
    .setAudience('stock.acme')
    .setSubject('system:serviceaccount:acme:booking')
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey)

const unauthorized = { name: 'Failure', kind: 'unauthenticated', code: 'unauthorized' }
const unavailable = { name: 'Failure', kind: 'unavailable', code: 'unavailable' }
const booking = { kind: 'workload', id: 'booking' }
const UNKNOWN = 'workload_unknown_key_total'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-issuer-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

async function verifierOf(source: string, caFile?: string) {
  const runtime: TestRuntime = testRuntime()
  const config = { NAMESPACE: 'acme', WORKLOAD_ISSUER: ISSUER, WORKLOAD_JWKS: source, WORKLOAD_JWKS_CA_FILE: caFile, WORKLOAD_CALLERS: ['booking'] }
  const { verify, close } = await openWorkloadVerifier('stock', config, runtime)
  onTestFinished(close)
  return { runtime, verify: async (bearer: Promise<string>) => verify(await bearer, runtime.scope()) }
}

/** Lets the pauses between looks pass, which the cache counts by this clock. */
function skipPauses() {
  const real = performance.now.bind(performance)
  let skipped = 0
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => real() + skipped)
  onTestFinished(() => spy.mockRestore())
  return (ms: number) => {
    skipped += ms
  }
}

describe('keys from a file', () => {
  let count = 0
  async function keyFile(...keys: Key[]) {
    const path = join(dir, `jwks-${++count}.json`)
    await writeFile(path, JSON.stringify(jwks(...keys)))
    return path
  }

  test('are known before the first call', async () => {
    const { verify } = await verifierOf(await keyFile(old))
    expect(await verify(token(old))).toEqual(booking)
  })

  test('are read again at once for an unknown one', async () => {
    const path = await keyFile(old)
    const { verify } = await verifierOf(path)
    await verify(token(old))
    const skip = skipPauses()
    await rename(await keyFile(old, next), path)
    skip(1_000)
    expect(await verify(token(next))).toEqual(booking)
  })

  test('make a token that none of them has signed 401, counted and named in the log', async () => {
    const { verify, runtime } = await verifierOf(await keyFile(old))
    await expect(verify(token(next))).rejects.toMatchObject(unauthorized)
    expect(await runtime.metric(UNKNOWN)).toBe(1)
    expect(runtime.lines.filter(({ level }) => level === 'error')).toEqual([
      expect.objectContaining({ msg: 'workload token signed with a key that the issuer does not publish', kid: 'next' }),
    ])
  })

  test("of another issuer's token are no concern of anybody", async () => {
    const { verify, runtime } = await verifierOf(await keyFile(old))
    await expect(verify(token(next, 'https://other.example.org'))).rejects.toMatchObject(unauthorized)
    expect(await runtime.metric(UNKNOWN)).toBe(0)
    expect(runtime.lines).toEqual([])
  })

  test('that cannot be read again make an unknown one 503, and leave the known ones as they are', async () => {
    const path = await keyFile(old)
    const { verify, runtime } = await verifierOf(path)
    await verify(token(old))
    const skip = skipPauses()
    await rm(path)
    skip(1_000)
    await expect(verify(token(next))).rejects.toMatchObject(unavailable)
    expect(await verify(token(old))).toEqual(booking)
    expect(await runtime.metric(UNKNOWN)).toBe(0)
  })

  test('have to be there at the start, and to be keys', async () => {
    await expect(verifierOf(join(dir, 'nothing.json'))).rejects.toMatchObject({ code: 'ENOENT' })
    const path = join(dir, 'none.json')
    await writeFile(path, '{}')
    await expect(verifierOf(path)).rejects.toMatchObject({ code: 'ERR_JWKS_INVALID' })
  })
})

describe('keys from a URL', () => {
  /** Publishes what `answer` gives, with a certificate of an authority that only `caFile` names. */
  async function publisher(answer: { status: number; body: string; headers?: Record<string, string> }) {
    const authority = await ensureAuthority(join(dir, 'ca'), ['localhost'])
    const { certificate, key } = await issueCertificate(authority, ['localhost'])
    const asked: string[] = []
    const server = createServer({ cert: certificate, key }, (req, res) => {
      asked.push(req.url ?? '')
      res.writeHead(answer.status, answer.headers).end(answer.body)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    return { url: `https://localhost:${(server.address() as AddressInfo).port}/openid/v1/jwks`, caFile: authority.certificateFile, asked }
  }
  const published = (...keys: Key[]) => ({ status: 200, body: JSON.stringify(jwks(...keys)) })

  /** The service starts without them, so a test waits. */
  const known = (verify: (bearer: Promise<string>) => Promise<unknown>, key: Key) =>
    vi.waitFor(async () => expect(await verify(token(key))).toEqual(booking), { timeout: 10_000, interval: 50 })

  test('are fetched, and fetched again for an unknown one, at most every ten seconds', async () => {
    const answer = published(old)
    const { url, caFile, asked } = await publisher(answer)
    const { verify, runtime } = await verifierOf(url, caFile)
    await known(verify, old)
    expect(asked).toEqual(['/openid/v1/jwks'])
    answer.body = published(old, next).body
    await expect(verify(token(next))).rejects.toMatchObject(unauthorized)
    expect([asked.length, await runtime.metric(UNKNOWN)]).toEqual([1, 1])
    skipPauses()(10_000)
    expect(await verify(token(next))).toEqual(booking)
    expect(asked).toHaveLength(2)
  })

  test.each([
    ['cannot be found', { status: 404, body: 'nothing here' }],
    ['are elsewhere', { status: 302, body: '', headers: { location: 'https://elsewhere.example.org/jwks' } }],
    ['are no key set', { status: 200, body: '{}' }],
    ['are no JSON', { status: 200, body: '<html>' }],
    ['are without end', { status: 200, body: ' '.repeat(1 << 19) }],
  ])('that %s make an unknown one 503', async (_name, broken) => {
    const answer: Parameters<typeof publisher>[0] = published(old)
    const { url, caFile } = await publisher(answer)
    const { verify, runtime } = await verifierOf(url, caFile)
    await known(verify, old)
    Object.assign(answer, broken)
    skipPauses()(10_000)
    await expect(verify(token(next))).rejects.toMatchObject(unavailable)
    expect(await verify(token(old))).toEqual(booking)
    expect(runtime.lines).toContainEqual(expect.objectContaining({ level: 'warn', msg: 'token keys cannot be fetched', kept: true }))
  })

  test('of a host that nobody vouches for are not taken', async () => {
    const { url, asked } = await publisher(published(old))
    const { verify, runtime } = await verifierOf(url)
    await vi.waitFor(() => expect(runtime.lines).toContainEqual(expect.objectContaining({ msg: 'token keys cannot be fetched' })), 10_000)
    await expect(verify(token(old))).rejects.toMatchObject(unavailable)
    expect(asked).toEqual([])
  })
})

describe('WORKLOAD_JWKS', () => {
  const taken = (WORKLOAD_JWKS: string) => () => loadConfig({ WORKLOAD_JWKS: workloadConfig.WORKLOAD_JWKS }, { WORKLOAD_JWKS })

  test.each(['/etc/fairlead/workload-issuer/jwks.json', 'https://oidc.example.org/keys'])('takes %s', value => {
    expect(taken(value)()).toEqual({ WORKLOAD_JWKS: value })
  })

  test.each(['http://oidc.example.org/keys', 'ftp://oidc.example.org'])('refuses %s', value => {
    expect(taken(value)).toThrow('WORKLOAD_JWKS is wrong (it is another URL)')
  })
})
