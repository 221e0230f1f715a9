import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeImages } from '../../infra/kit/image/image.ts'
import type { Manifest } from '../../infra/kit/objects/manifest.ts'
import { imagesFor } from '../../infra/kit/settings/images.ts'
import { loadSettings, type Settings } from '../../infra/kit/settings/settings.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { nameOf } from '../../scripts/cluster/apply.ts'
import { ensureAuthority, issueCertificate } from '../../scripts/cluster/certificates.ts'
import { followRollouts } from '../../scripts/cluster/rollout.ts'
import { EXISTING } from '../support/existing-platform.ts'
import { takeJourney } from './support/journey.ts'
import { makeNamespace, startPod } from './support/pods.ts'
import { cluster, eventually, NAMESPACE, report, settings } from './support/target.ts'

const bundled = settings.PLATFORM === 'bundled'
if (!bundled) process.stderr.write('SKIPPED: settings of other clusters are tried from the bundled platform, which this cluster lacks\n')

const { signal } = new AbortController()
const built = await describeImages(app, settings)
const images = Object.fromEntries(built.map(({ service, reference }) => [service, reference]))
const NODE = images.user as string

/** Some objects as other settings make them. */
function objectsWith(change: Partial<Settings>, ...names: string[]): Manifest[] {
  const { own, platform } = synthesize({ ...app, settings: { ...settings, ...change }, images })
  return names.map(name => {
    const found = [...platform, ...own].find(manifest => nameOf(manifest) === name)
    if (!found) throw new Error(`there is no ${name}`)
    return found
  })
}

/** Applies some objects as other settings make them. @returns what puts them back */
async function change(settingsBeside: Partial<Settings>, ...names: string[]): Promise<() => Promise<void>> {
  for (const manifest of objectsWith(settingsBeside, ...names)) await cluster.apply(manifest)
  return async () => {
    for (const manifest of objectsWith({}, ...names)) await cluster.apply(manifest)
  }
}

const POLICY = `NetworkPolicy ${NAMESPACE}/user`

describe.runIf(bundled)('DNS', () => {
  const namespace = 'e2e-dns'
  let gone: () => Promise<void>
  let server: string
  let count = 0

  beforeAll(async () => {
    gone = await makeNamespace(namespace)
    const coredns = await cluster.read({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'coredns', namespace: 'kube-system' } })
    const kubeDns = await cluster.read({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'kube-dns', namespace: 'kube-system' } })
    const Corefile = `.:53 {\n  errors\n  forward . ${kubeDns?.spec.clusterIP}\n}\n`
    await cluster.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'corefile', namespace }, data: { Corefile } } as never)
    const { address } = await startPod({
      namespace,
      name: 'coredns',
      image: coredns?.spec.template.spec.containers[0].image,
      labels: { app: 'second-dns' },
      args: ['-conf', '/etc/coredns/Corefile'],
      lowPort: true,
      mounts: { '/etc/coredns': { configMap: 'corefile' } },
    })
    server = address
  })
  afterAll(() => gone())

  /** Whether a pod with the user service's policies finds a name at the second server. */
  async function finds(): Promise<boolean> {
    const look = `timeout 3 nslookup order.${NAMESPACE}.svc.cluster.local >/dev/null 2>&1`
    const { log, remove } = await startPod({
      namespace: NAMESPACE,
      name: `probe-dns-${++count}`,
      image: imagesFor(settings).probe,
      labels: { 'app.kubernetes.io/name': 'user' },
      // Policies reach a new pod a moment after it starts.
      command: ['sh', '-c', `sleep 5; for n in 1 2 3; do ${look} && echo found && break; done; echo done; sleep 300`],
      dnsServer: server,
    })
    try {
      const said = await eventually(log, text => expect(text).toContain('done'), 60_000)
      return said.includes('found')
    } finally {
      await remove()
    }
  }

  test('of other pods than kube-dns finds no name by default', async () => {
    expect(await finds()).toBe(false)
  })

  test.each([
    ['their labels', () => 'kube-dns,app=second-dns@e2e-dns'],
    ['their address', () => `kube-dns,${server}/32`],
  ])('of other pods works where a setting says %s', async (_, value) => {
    const restore = await change({ DNS: loadSettings({ DNS: value() }, app.system).DNS }, POLICY)
    try {
      expect(await finds()).toBe(true)
    } finally {
      await restore()
    }
  })
})

describe.runIf(bundled)('a receiver of alerts', () => {
  const namespace = 'e2e-alerts'
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'e2e-receivers', namespace: settings.MONITORING_NAMESPACE } }
  let gone: () => Promise<void>

  beforeAll(async () => {
    gone = await makeNamespace(namespace)
  })
  afterAll(async () => {
    await cluster.remove(secret)
    await gone()
  })

  test('that a Secret names and a setting lets through gets the alert that fires always', async () => {
    const { address, log } = await startPod({
      namespace,
      name: 'webhook',
      image: NODE,
      labels: { app: 'webhook' },
      args: [
        '-e',
        "require('node:http').createServer((req, res) => { req.on('data', c => process.stdout.write(c)).on('end', () => res.end()) }).listen(8080)",
      ],
    })
    // Each alert by itself: a group that has been sent once is quiet for minutes, whatever joins it meanwhile.
    const config = `route: { receiver: webhook, group_by: ['...'], group_wait: 1s }
receivers: [{ name: webhook, webhook_configs: [{ url: 'http://${address}:8080/' }] }]
`
    await cluster.apply({ ...secret, stringData: { 'alertmanager.yaml': config } } as never)
    const { ALERTS_TO } = loadSettings({ ALERTS_SECRET: 'e2e-receivers', ALERTS_TO: 'app=webhook@e2e-alerts:8080' }, app.system)
    const MONITORING = settings.MONITORING_NAMESPACE
    const restore = await change(
      { ALERTS_SECRET: 'e2e-receivers', ALERTS_TO },
      `Alertmanager ${MONITORING}/alertmanager`,
      `NetworkPolicy ${MONITORING}/alertmanager`,
    )
    try {
      const heard = await eventually(log, text => expect(text).toContain('"alertname":"Watchdog"'), 180_000)
      report(`the webhook got ${heard.match(/"alertname":"\w+"/g)?.length} alerts`)
    } finally {
      await restore()
    }
  }, 240_000)
})

describe.runIf(bundled)('the user service with traces and keys from outside', () => {
  const namespace = 'e2e-outside'
  const host = `traces.${namespace}`
  const ca = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'e2e-ca', namespace: NAMESPACE } }
  const headers = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'otlp-headers', namespace: NAMESPACE } }
  const discovery = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'e2e-issuer-discovery' } }
  const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'user', namespace: NAMESPACE } }
  const ready = () => followRollouts(cluster, [deployment], { timeoutMs: 180_000, signal })
  let gone: () => Promise<void>
  let restore = async () => {}
  let backend: Awaited<ReturnType<typeof startPod>>
  let jwks: string

  beforeAll(async () => {
    gone = await makeNamespace(namespace)
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-e2e-'))
    const authority = await ensureAuthority(dir, [host])
    const { certificate, key } = await issueCertificate(authority, [host])
    await cluster.apply({ ...ca, data: { 'ca.crt': await readFile(authority.certificateFile, 'utf8') } } as never)
    await rm(dir, { recursive: true, force: true })
    await cluster.apply({ ...headers, stringData: { 'x-api-key': 'a-secret-of-the-backend' } } as never)
    const tls = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'tls', namespace }, stringData: { crt: certificate, key } }
    await cluster.apply(tls as never)
    // Speaks as much of OTLP over gRPC as it takes to be sent traces.
    const script = `const fs = require('node:fs')
require('node:http2').createSecureServer({ cert: fs.readFileSync('/tls/crt'), key: fs.readFileSync('/tls/key') }, () => {}).on('stream', (stream, headers) => {
  let bytes = 0
  stream.on('data', chunk => { bytes += chunk.length }).on('end', () => {
    console.log(headers[':path'], headers['x-api-key'], bytes)
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(Buffer.alloc(5))
  })
}).listen(4317)`
    backend = await startPod({
      namespace,
      name: 'traces',
      image: NODE,
      labels: { app: 'traces' },
      args: ['-e', script],
      mounts: { '/tls': { secret: 'tls' } },
    })
    const spec = { clusterIP: 'None', selector: { app: 'traces' }, publishNotReadyAddresses: true, ports: [{ name: 'otlp', port: 4_317 }] }
    await cluster.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'traces', namespace }, spec } as never)
    await cluster.apply({
      ...discovery,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:service-account-issuer-discovery' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'system:unauthenticated' }],
    } as never)
    const server = settings.API_SERVER.find(({ port }) => port !== 443)
    if (!server) throw new Error('the API server has no address of its own')
    jwks = `https://${server.address}:${server.port}/openid/v1/jwks`
    const outside = loadSettings(
      {
        ...EXISTING,
        OTLP_ENDPOINT: `https://${host}:4317`,
        OTLP_CIDR: `${backend.address}/32`,
        OTLP_HEADERS: 'x-api-key',
        OTLP_CA: 'e2e-ca',
        WORKLOAD_JWKS: jwks,
        WORKLOAD_JWKS_CIDR: `${server.address}/32`,
        WORKLOAD_JWKS_CA: 'kube-root-ca.crt',
      },
      app.system,
    )
    const { OTLP_ENDPOINT, OTLP_CIDR, OTLP_HEADERS, OTLP_CA, WORKLOAD_JWKS, WORKLOAD_JWKS_CIDR, WORKLOAD_JWKS_CA } = outside
    const changed = { OTLP_ENDPOINT, OTLP_CIDR, OTLP_HEADERS, OTLP_CA, WORKLOAD_JWKS, WORKLOAD_JWKS_CIDR, WORKLOAD_JWKS_CA }
    restore = await change(changed as Partial<Settings>, POLICY, `Deployment ${NAMESPACE}/user`)
    await ready()
  }, 240_000)

  afterAll(async () => {
    await restore()
    await ready()
    for (const object of [ca, headers, discovery]) await cluster.remove(object)
    await gone()
  }, 300_000)

  test('believes order by keys that the cluster publishes', async () => {
    report(`${await takeJourney()}, with keys of ${jwks}`)
  })

  test('sends traces over TLS with a header of a Secret', async () => {
    const said = await eventually(backend.log, text => expect(text).toContain('TraceService/Export'), 60_000)
    expect(said.split('\n')[0]).toMatch(/^\/opentelemetry\.proto\.collector\.trace\.v1\.TraceService\/Export a-secret-of-the-backend \d+$/)
  })
})
