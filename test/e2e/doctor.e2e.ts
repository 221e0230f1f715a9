import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { COLLECTOR_CONFIG } from '../../infra/kit/constructs/tracing-sidecar.ts'
import { imageReferences } from '../../infra/kit/image/image.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { applyAll } from '../../scripts/cluster/apply.ts'
import type { Live, Reference } from '../../scripts/cluster/cluster.ts'
import { ensureCrds } from '../../scripts/cluster/crds.ts'
import { followRollouts, workloadsOf } from '../../scripts/cluster/rollout.ts'
import { ensureSecrets } from '../../scripts/cluster/secrets.ts'
import type { Result } from '../../scripts/doctor/check.ts'
import { cluster, context, eventually, NAMESPACE, readyPods, report, settings } from './support/target.ts'
import { forgetRegistrations } from './support/throttle.ts'

const run = promisify(execFile)
const { signal } = new AbortController()
const { own, platform } = synthesize({ ...app, settings, images: await imageReferences(app, settings) })
const manifests = [...platform, ...own]

interface Report {
  exitCode: number
  checks: Result[]
}

/** `npx fairlead doctor --json`, of some checks or of all. */
async function doctor(...only: string[]): Promise<Report> {
  const args = ['--disable-warning=ExperimentalWarning', 'scripts/fairlead.mjs', 'doctor', '--context', context, '--json']
  const ended = await run(process.execPath, [...args, ...(only.length > 0 ? ['--only', only.join(',')] : [])], {
    timeout: 150_000,
    maxBuffer: 16 << 20,
  }).then(
    ({ stdout }) => ({ exitCode: 0, stdout }),
    error => ({ exitCode: error.code as number, stdout: error.stdout as string }),
  )
  if (!ended.stdout) throw new Error(`doctor said nothing and ended with ${ended.exitCode}`)
  return { exitCode: ended.exitCode, checks: JSON.parse(ended.stdout).checks }
}

const failures = ({ checks }: Report): string[] =>
  checks.filter(({ outcome }) => outcome === 'failed').map(({ name, message }) => `${name}: ${message}`)

/** Puts everything back to what the graph gives. */
async function heal(): Promise<void> {
  await ensureCrds(cluster, { folder: process.env.FAIRLEAD_CRDS }, signal)
  await ensureSecrets(cluster, { ...app, settings })
  await applyAll(cluster, manifests, { signal })
  await cluster.patch(coredns, { spec: { replicas: 2 } })
  await followRollouts(cluster, [...workloadsOf(manifests), coredns], { timeoutMs: 180_000, signal })
  // Each doctor registers a customer.
  await forgetRegistrations()
}

const reference = (apiVersion: string, kind: string, name: string, namespace = NAMESPACE): Reference => ({
  apiVersion,
  kind,
  metadata: { name, namespace },
})
const apps = (kind: string, name: string, namespace?: string) => reference('apps/v1', kind, name, namespace)
const coredns = apps('Deployment', 'coredns', 'kube-system')
const policy = (name: string) => reference('networking.k8s.io/v1', 'NetworkPolicy', name)
const MONITORING = settings.MONITORING_NAMESPACE

/** Changes a list in an object, which a merge patch replaces as a whole. */
async function edit(of: Reference, change: (live: Live) => object): Promise<void> {
  await cluster.patch(of, change((await cluster.read(of)) as Live))
}

/**
 * Has the kubelet hand Prometheus its files now rather than within the next minute or two: it looks after a pod that has changed. The
 * operator writes them a moment after what they are made from has changed, so this is done before each look.
 */
async function deliverFiles(): Promise<void> {
  for (const { metadata } of await readyPods('prometheus', MONITORING))
    await cluster.patch(reference('v1', 'Pod', metadata.name, MONITORING), {
      metadata: { annotations: { 'example.org/looked-at': new Date().toISOString() } },
    })
}

interface Breakage {
  what: string
  breakIt(): Promise<unknown>
  /** Done before each look. */
  hurry?: () => Promise<void>
  /** Checks that are asked. */
  checks: string[]
  /** What one of them says. */
  says: RegExp
}

const breakages: Breakage[] = [
  {
    what: 'a ServiceMonitor selects a label that no Service has',
    breakIt: () =>
      cluster.patch(reference('monitoring.coreos.com/v1', 'ServiceMonitor', 'order'), {
        spec: { selector: { matchLabels: { 'app.kubernetes.io/name': 'ordr' } } },
      }),
    hurry: deliverFiles,
    checks: ['scrape of order'],
    says: /ServiceMonitor shop\/order: spec\.selector\.matchLabels\.app\.kubernetes\.io\/name is "ordr", the graph says "order"/,
  },
  {
    what: "the order service's policy is gone",
    breakIt: () => cluster.remove(policy('order')),
    checks: ['edge', 'policies'],
    says: /^edge order -> user: shop\/order cannot connect to user:\d+.*NetworkPolicy shop\/order: not there/,
  },
  {
    what: 'somebody has opened the user service to every pod',
    breakIt: () =>
      cluster.create({
        ...policy('let-me-in'),
        spec: { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'user' } }, policyTypes: ['Ingress'], ingress: [{}] },
      } as never),
    checks: ['policies'],
    says: /^policies: .*can connect to user:\d+.*NetworkPolicy shop\/let-me-in: not of the graph/,
  },
  {
    what: 'the DNS of the cluster is down',
    breakIt: () => cluster.patch(coredns, { spec: { replicas: 0 } }),
    checks: ['DNS'],
    says: /^DNS: .*kube-system\/coredns has no ready pod/,
  },
  {
    what: "the collector's configuration is broken",
    breakIt: () =>
      edit(apps('Deployment', 'order'), ({ spec }) => {
        const { initContainers } = spec.template.spec
        initContainers[0].env.find(({ name }: { name: string }) => name === COLLECTOR_CONFIG).value = 'receivers: [}'
        return { spec: { template: { spec: { initContainers } } } }
      }),
    checks: ['pods of order'],
    says: /^pods of order: .*collector ended with 1.*Deployment shop\/order: spec\.template\.spec\.initContainers\.0\.env\.4\.value is not what the graph says/,
  },
  {
    what: 'the Secret with the URL of a database is gone',
    breakIt: () => cluster.remove(reference('v1', 'Secret', 'order-database')),
    checks: ['mounted files'],
    says: /^mounted files: Secret shop\/order-database, which pods of order mount, is not there/,
  },
  {
    what: 'the tag of an image is wrong',
    breakIt: () =>
      edit(apps('Deployment', 'user'), ({ spec }) => ({
        spec: {
          template: {
            spec: { containers: spec.template.spec.containers.map((container: object) => ({ ...container, image: 'fairlead/user:gone' })) },
          },
        },
      })),
    checks: ['images', 'pods of user'],
    says: /^images: the node of pod shop\/user-\S+ cannot get fairlead\/user:gone \((?:ErrImagePull|ImagePullBackOff|ErrImageNeverPull)\).*Deployment shop\/user: spec\.template\.spec\.containers\.0\.image is "fairlead\/user:gone"/,
  },
  {
    what: 'a port of a Service has another name',
    breakIt: () =>
      edit(reference('v1', 'Service', 'user-pods'), ({ spec }) => ({
        spec: { ports: spec.ports.map((port: { name: string }) => (port.name === 'admin' ? { ...port, name: 'management' } : port)) },
      })),
    checks: ['scrape of user'],
    says: /^scrape of user: Prometheus does not know user-.*Service shop\/user-pods: spec\.ports\.2\.name is "management", the graph says "admin"/,
  },
  {
    what: 'a CustomResourceDefinition is missing',
    breakIt: () => cluster.remove(reference('apiextensions.k8s.io/v1', 'CustomResourceDefinition', 'prometheusrules.monitoring.coreos.com', '')),
    checks: ['kinds'],
    says: /^kinds: the cluster knows no PrometheusRule\.monitoring\.coreos\.com\/v1: the CustomResourceDefinition is missing/,
  },
  {
    what: 'a route names a class that nobody serves',
    breakIt: () => cluster.patch(reference('networking.k8s.io/v1', 'Ingress', 'order'), { spec: { ingressClassName: 'nginx' } }),
    checks: ['ingress to'],
    says: /^ingress to order: GET .*\/products answered 503: no pod is ready, or its route has not been read.*Ingress shop\/order: spec\.ingressClassName is "nginx", the graph says "traefik"/,
  },
  {
    what: 'the ingress is down',
    breakIt: () => cluster.patch(apps('Deployment', 'traefik', settings.INGRESS_NAMESPACE), { spec: { replicas: 0 } }),
    checks: ['ingress', 'certificate'],
    says: /^ingress to user: nobody answers at .*Deployment ingress\/traefik: spec\.replicas is 0, the graph says 1/,
  },
  {
    what: 'Prometheus may not reach the pods',
    breakIt: () =>
      edit(policy('user'), ({ spec }) => ({
        spec: { ingress: spec.ingress.filter(({ ports }: { ports: { port: number }[] }) => !ports.some(({ port }) => port === 9_090)) },
      })),
    checks: ['edges to the platform'],
    says: /^edges to the platform: observability\/prometheus cannot connect to user:\d+.*NetworkPolicy shop\/user: spec\.ingress has 2 entries, the graph says 3/,
  },
  {
    what: 'Alertmanager has no pod',
    breakIt: () => cluster.patch(reference('monitoring.coreos.com/v1', 'Alertmanager', 'alertmanager', MONITORING), { spec: { replicas: 0 } }),
    checks: ['alert path', 'pods of alertmanager'],
    says: /^alert path: observability\/alertmanager has no pod/,
  },
  {
    what: 'Jaeger is down',
    breakIt: () => cluster.patch(apps('Deployment', 'jaeger', settings.TRACING_NAMESPACE), { spec: { replicas: 0 } }),
    checks: ['trace', 'exemplar', 'pods of jaeger'],
    says: /^trace: observability\/jaeger has no pod/,
  },
  {
    what: 'the database is down',
    breakIt: () => cluster.patch(apps('StatefulSet', 'postgres'), { spec: { replicas: 0 } }),
    checks: ['database'],
    says: /^database of order: order-\S+ does not reach its database: postgres has no ready pod.*StatefulSet shop\/postgres: spec\.replicas is 0, the graph says 1/,
  },
  {
    what: "the copy of the cluster's token keys is of another cluster",
    breakIt: () => cluster.patch(reference('v1', 'ConfigMap', 'workload-issuer'), { data: { 'jwks.json': '{"keys":[]}' } }),
    checks: ['workload identity'],
    says: /^workload identity: ConfigMap shop\/workload-issuer lacks the key \S+ that the cluster signs tokens with/,
  },
  {
    what: 'the certificate of the ingress is gone',
    breakIt: () => cluster.remove(reference('v1', 'Secret', settings.TLS_SECRET, settings.INGRESS_NAMESPACE)),
    checks: ['certificate'],
    says: /^certificate: the certificate of \S+ is for .*, not for shop\.localhost: Secret ingress\/shop-tls is not there/,
  },
]

afterAll(async () => {
  await cluster.remove(policy('let-me-in'))
  await heal()
}, 300_000)

describe('npx fairlead doctor', () => {
  // The files before this one have registered all that one address may.
  beforeAll(forgetRegistrations)

  test('finds nothing wrong with a system that npx fairlead up has made', async () => {
    const found = await eventually(doctor, ({ exitCode, checks }) => expect([failures({ exitCode, checks }), exitCode]).toEqual([[], 0]), 60_000)
    report(`${found.checks.length} checks passed`)
    expect(found.checks.length).toBeGreaterThan(35)
  })

  describe('names the cause when', () => {
    afterEach(async () => {
      await cluster.remove(policy('let-me-in'))
      await heal()
    }, 240_000)

    test.each(breakages)('$what', async ({ breakIt, hurry = async () => {}, checks, says }) => {
      await breakIt()
      const { exitCode } = await eventually(
        async () => {
          await hurry()
          return doctor(...checks)
        },
        found => expect(failures(found).join('\n')).toMatch(new RegExp(says.source, 'm')),
        120_000,
      )
      expect(exitCode).toBe(1)
    })
  })

  test('finds nothing wrong once all is put back', async () => {
    await eventually(doctor, found => expect(failures(found)).toEqual([]), 180_000)
    expect((await readyPods('order')).length).toBeGreaterThan(0)
  })
})
