import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { ensureAuthority, issueCertificate } from '../../../scripts/cluster/certificates.ts'
import { type Cluster, openCluster } from '../../../scripts/cluster/cluster.ts'

let dir: string
let server: ReturnType<typeof createServer>
let cluster: Cluster
/** What the API server answers by path; it knows nothing else. */
let answers: Record<string, object>
let asked: IncomingMessage[]

const resources = (name: string, kind: string) => ({ resources: [{ name, kind, namespaced: true }] })
const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'a', namespace: 'acme' } }

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-cluster-'))
  const { certificate, key } = await issueCertificate(await ensureAuthority(dir, ['localhost']), ['localhost'])
  server = createServer({ cert: certificate, key }, (request, response) => {
    asked.push(request)
    const answer = answers[request.url ?? '']
    if (!answer) response.statusCode = 404
    response.end(JSON.stringify(answer ?? { message: 'not found' }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'here', cluster: { server: `https://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
    contexts: [{ name: 'here', context: { cluster: 'here', user: 'nobody' } }],
    users: [{ name: 'nobody', user: {} }],
  }
  await writeFile(join(dir, 'config'), JSON.stringify(config))
  vi.stubEnv('KUBECONFIG', join(dir, 'config'))
  cluster = openCluster('here')
})
beforeEach(() => {
  asked = []
  answers = { '/api/v1': resources('secrets', 'Secret'), '/api/v1/namespaces/acme/secrets/a': { metadata: { name: 'a' } } }
})
afterAll(async () => {
  vi.unstubAllEnvs()
  server.closeAllConnections()
  server.close()
  await rm(dir, { recursive: true, force: true })
})

describe('a cluster', () => {
  test('tells whether an object is there, and has nothing of its content sent', async () => {
    expect(await cluster.exists(secret)).toBe(true)
    expect(asked.at(-1)).toMatchObject({
      url: '/api/v1/namespaces/acme/secrets/a',
      headers: { accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1' },
    })
    expect(await cluster.exists({ ...secret, metadata: { name: 'b', namespace: 'acme' } })).toBe(false)
  })

  test('has no object of a kind that it does not know', async () => {
    const reference = { apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor', metadata: { name: 'booking', namespace: 'acme' } }
    expect(await cluster.exists(reference)).toBe(false)
    expect(await cluster.read(reference)).toBeUndefined()
  })

  test('tells whether it knows a kind, also of one that comes later, without listing its objects', async () => {
    const kind = { apiVersion: 'monitoring.coreos.com/v1', kind: 'PrometheusRule' }
    expect(await cluster.serves({ apiVersion: 'v1', kind: 'Secret' })).toBe(true)
    expect(await cluster.serves({ apiVersion: 'v1', kind: 'Sekret' })).toBe(false)
    expect(await cluster.serves(kind)).toBe(false)
    answers['/apis/monitoring.coreos.com/v1'] = resources('prometheusrules', 'PrometheusRule')
    expect(await cluster.serves(kind)).toBe(true)
    for (const { url } of asked) expect(url).toMatch(/\/v1$/)
  })
})
