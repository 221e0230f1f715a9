import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createTcpServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Certified, ensureAuthority, issueCertificate } from '../../../../scripts/cluster/certificates.ts'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { ingressChecks } from '../../../../scripts/doctor/checks/ingress.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import type { Contract } from '../../../../services/chassis/contract/contract.ts'
import { booking, stock } from '../../../support/acme.ts'
import { answering, contextOf, type FakeCluster, fakeCluster, hangingUp, type Routes, runCheck } from '../../../support/fake-cluster.ts'

const run = (name: string, more: object, fake: FakeCluster = fakeCluster()) => runCheck(ingressChecks(contextOf(fake, more)), name)
const answer = (status: number) => () => new Response('', { status })

/** An address of 127.0.0.1 at which a server listens until the test is over. */
async function addressOf(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => new Promise(resolve => server.close(() => resolve())))
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

async function closedAddress(): Promise<string> {
  const server = createTcpServer()
  const address = await addressOf(server)
  await new Promise(resolve => server.close(resolve))
  return address
}

describe('ingress to a service', () => {
  test.each([
    ['stock', '/items'],
    ['booking', '/openapi/booking.json'],
  ])('%s routes %s, which needs no token, by the host', async (name, path) => {
    const ofTheHost: Routes[string] = (_, { headers }) => new Response('', { status: headers.host === 'acme.localhost' ? 200 : 404 })
    expect(await run(`ingress to ${name}`, { baseUrl: await answering({ [path]: ofTheHost }) })).toBe(`GET ${path} 200`)
  })

  test.each([
    [404, 'it has no route'],
    [502, 'the pod refuses the ingress'],
    [503, 'no pod is ready, or its route has not been read'],
    [500, 'the service fails'],
  ])('that answers %i: %s', async (status, meaning) => {
    const baseUrl = await answering({ '/items': answer(status) })
    const fake = fakeCluster()
    // Of another service, of another namespace, and none that a request passes.
    for (const name of ['Ingress acme/booking', 'NetworkPolicy ingress/traefik', 'ServiceMonitor acme/stock']) fake.objects.delete(name)
    await expect(run('ingress to stock', { baseUrl }, fake)).rejects.toMatchObject({
      message: `GET ${baseUrl}/items answered ${status}: ${meaning}`,
      remedy: toRun('npx fairlead logs stock --context kind-test'),
    })
  })

  test.each(['Ingress', 'Service', 'NetworkPolicy'])('is blamed on the %s that is gone', async kind => {
    const fake = fakeCluster()
    fake.objects.delete(`${kind} acme/stock`)
    await expect(run('ingress to stock', { baseUrl: await answering({}) }, fake)).rejects.toMatchObject({
      message: expect.stringMatching(new RegExp(`/items answered 404: it has no route; the cause: ${kind} acme/stock: not there$`)),
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('that nobody answers is blamed on the ingress', async () => {
    const fake = fakeCluster()
    fake.edit('Deployment ingress/traefik', ({ spec }) => {
      spec.replicas = 0
    })
    fake.objects.delete('Ingress acme/stock')
    const address = await closedAddress()
    await expect(run('ingress to stock', { baseUrl: `http://${address}` }, fake)).rejects.toMatchObject({
      message: `nobody answers at http://${address} (ECONNREFUSED); the cause: Deployment ingress/traefik: spec.replicas is 0, the graph says 1`,
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('that hangs up says so, and where to look', async () => {
    await expect(run('ingress to stock', { baseUrl: await hangingUp() })).rejects.toMatchObject({
      message: expect.stringMatching(/^nobody answers at http:\/\/127\.0\.0\.1:\d+ \(UND_ERR_SOCKET\)$/),
      remedy: toRun('kubectl --context kind-test -n ingress get pods', 'npx fairlead deploy --context kind-test'),
    })
  })

  test('is checked for services that have a way in, and skipped where it needs a token', async () => {
    const { system } = contextOf(fakeCluster())
    const only = (contract: Contract, ...ids: string[]): Contract => Object.fromEntries(ids.map(id => [id, contract[id] as Contract[string]]))
    const services = [
      { ...stock, contract: only(stock.contract, 'reserve') },
      { ...booking, contract: only(booking.contract, 'getBooking', 'listBookings', 'book', 'getOpenApi') },
    ]
    const more = { system: { ...system, services } }
    const named = ingressChecks(contextOf(fakeCluster(), more)).map(({ name }) => name)
    expect(named.filter(name => name.startsWith('ingress to'))).toEqual(['ingress to booking'])
    await expect(run('ingress to booking', more)).rejects.toEqual(new NotHere('booking has no public GET operation without a token'))
  })
})

describe('ingress to a service whose public operations all have parameters', () => {
  const { system } = contextOf(fakeCluster())
  const getItem = { ...(stock.contract.listItems as Contract[string]), path: '/items/{id}' }
  const more = { system: { ...system, services: [{ ...stock, contract: { getItem } }] } }
  const problem = (status: number) => () => new Response('{}', { status, headers: { 'content-type': 'application/problem+json' } })

  test.each([404, 400])('is proved by its own %i about a made-up one', async status => {
    const baseUrl = await answering({ '/items/x': problem(status) })
    expect(await run('ingress to stock', { ...more, baseUrl })).toBe(`GET /items/x ${status}`)
  })

  test.each([
    ['404 of the ingress', answer(404), 'it has no route'],
    ['429 of the service', problem(429), 'this machine has too many requests in flight'],
    ['500 of the service', problem(500), 'the service fails'],
  ])('is not proved by a %s', async (_, route, meaning) => {
    const baseUrl = await answering({ '/items/x': route })
    await expect(run('ingress to stock', { ...more, baseUrl })).rejects.toThrow(meaning)
  })
})

describe('ingress keeps what is private', () => {
  const check = 'ingress keeps what is private'

  test('when neither operations of workloads nor admin paths are routed', async () => {
    const asked: string[] = []
    const note: Routes[string] = (_, { url = '', headers }) => {
      asked.push(`${headers.host}${url}`)
      return new Response('', { status: 404 })
    }
    const paths = ['/reservations/x', '/openapi.json', '/metrics', '/livez', '/readyz']
    const baseUrl = await answering(Object.fromEntries(paths.map(path => [path, note])))
    expect(await run(check, { baseUrl })).toBe('5 paths are not routed')
    expect(asked).toEqual(paths.map(path => `acme.localhost${path}`))
  })

  test.each([
    ['/reservations/x', 405],
    ['/openapi.json', 200],
    ['/metrics', 200],
    ['/livez', 200],
    ['/readyz', 401],
    ['/readyz', 503],
  ])('not when %s answers %i', async (path, status) => {
    const fake = fakeCluster()
    fake.edit('Ingress acme/booking', ({ spec }) => spec.rules[0].http.paths.push({ path }))
    await expect(run(check, { baseUrl: await answering({ [path]: answer(status) }) }, fake)).rejects.toMatchObject({
      message: expect.stringMatching(
        `^${path} answered ${status} through the ingress: it is not for everybody; the cause: Ingress acme/booking: spec\\.rules\\.0\\.http\\.paths has \\d+ entries`,
      ),
    })
  })
})

describe('certificate', () => {
  const DAY_MS = 86_400_000
  const SECRETS = { commands: ['npx fairlead secrets --context kind-test'], page: 'docs/runbooks/certificate-expires.md' }
  let authority: Certified
  beforeAll(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-ca-'))
    authority = await ensureAuthority(dir, ['localhost'])
    return () => rm(dir, { recursive: true, force: true })
  })

  /** An ingress that shows a certificate for a host, as old as is said; it is good for 90 days. */
  async function serving(host: string, days = 0): Promise<string> {
    const { certificate, key } = await issueCertificate(authority, [host], new Date(Date.now() - days * DAY_MS))
    const server = createServer({ key, cert: certificate })
    server.on('tlsClientError', () => {})
    return addressOf(server)
  }

  const certificate = (tlsAddress: string | undefined, fake?: FakeCluster) => run('certificate', { tlsAddress }, fake)

  test.each([
    [0, 89],
    [68.5, 21],
  ])('of an authority that nobody knows is good when it is %d days old', async (age, days) => {
    expect(await certificate(await serving('acme.localhost', age))).toBe(`for acme.localhost, good for ${days} days`)
  })

  test.each([
    [69.5, 'expires'],
    [91, 'has expired'],
  ])('of %d days %s', async (age, what) => {
    await expect(certificate(await serving('acme.localhost', age))).rejects.toMatchObject({
      message: expect.stringMatching(`^the certificate in Secret ingress/acme-tls ${what} on \\w{3} +\\d+ .* GMT$`),
      remedy: SECRETS,
    })
  })

  test('is for another host, for the Secret is', async () => {
    const fake = fakeCluster()
    fake.put({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'acme-tls', namespace: 'ingress' } })
    const address = await serving('depot.localhost')
    await expect(certificate(address, fake)).rejects.toMatchObject({
      message: `the certificate of ${address} is for depot.localhost, not for acme.localhost: Secret ingress/acme-tls is of another host`,
      remedy: SECRETS,
    })
  })

  test("is the ingress's own, for the Secret is gone", async () => {
    const address = await serving('TRAEFIK DEFAULT CERT')
    await expect(certificate(address)).rejects.toThrow(
      `the certificate of ${address} is for TRAEFIK DEFAULT CERT, not for acme.localhost: Secret ingress/acme-tls is not there`,
    )
  })

  test('is not shown by who is not there', async () => {
    const address = await closedAddress()
    await expect(certificate(address)).rejects.toMatchObject({
      message: `nobody speaks TLS at ${address} (ECONNREFUSED)`,
      remedy: toRun('npx fairlead status --context kind-test'),
    })
  })

  test('is not shown by who does not speak TLS', async () => {
    const server = createTcpServer(socket => {
      socket.on('error', () => {}).resume()
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    })
    const address = await addressOf(server)
    await expect(certificate(address)).rejects.toThrow(`nobody speaks TLS at ${address} (`)
  })

  test('is skipped where there is no TLS', async () => {
    await expect(certificate(undefined)).rejects.toEqual(new NotHere('no TLS address is known (--url https://...)'))
  })
})
