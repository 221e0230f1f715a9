import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { imageReferences } from '../../infra/kit/image/image.ts'
import type { Manifest } from '../../infra/kit/objects/manifest.ts'
import { amounts, containerSecurity, podSecurity } from '../../infra/kit/objects/restricted.ts'
import { synthesize } from '../../infra/kit/synth/synth.ts'
import { app } from '../../infra/main.ts'
import { system } from '../../infra/system.ts'
import { nameOf } from '../../scripts/cluster/apply.ts'
import type { Live } from '../../scripts/cluster/cluster.ts'
import { rollOut } from '../../scripts/cluster/release.ts'
import { createSteps } from '../../scripts/terminal.ts'
import { underLoad } from './support/load.ts'
import { restoreBounds, scaleTo } from './support/scale.ts'
import { cluster, NAMESPACE, settings } from './support/target.ts'

const { signal } = new AbortController()
const images = await imageReferences(app, settings)
const { own, platform } = synthesize({ ...app, settings, images })
/** What the graph gives: order reaches Postgres by itself. */
const direct = [...platform, ...own]
const PROXY = 'database-proxy'
const labels = { 'app.kubernetes.io/name': PROXY }
const POSTGRES = `postgres.${NAMESPACE}`

const release = (manifests: readonly Manifest[]) => rollOut(cluster, manifests, createSteps(), { namespace: NAMESPACE, timeoutMs: 240_000, signal })

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: PROXY, namespace: NAMESPACE },
  spec: { selector: labels, ports: [{ port: 5_432, targetPort: 5_432 }] },
}

/** Passes every connection on to Postgres, and cuts them all when it is told to end; runs on the image that is there. */
const proxy = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: PROXY, namespace: NAMESPACE },
  spec: {
    replicas: 1,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        automountServiceAccountToken: false,
        securityContext: podSecurity(),
        containers: [
          {
            name: PROXY,
            image: images.order,
            args: [
              '-e',
              `process.on('SIGTERM', () => process.exit())
              const { connect, createServer } = require('node:net')
              createServer(from => {
                const to = connect(5432, '${POSTGRES}')
                from.pipe(to).pipe(from)
                for (const [one, other] of [[from, to], [to, from]]) one.on('error', () => other.destroy())
              }).listen(5432)`,
            ],
            readinessProbe: { tcpSocket: { port: 5_432 }, periodSeconds: 1 },
            securityContext: containerSecurity(),
            resources: amounts({ cpu: '20m', memory: '64Mi' }, { cpu: '500m', memory: '128Mi' }),
          },
        ],
      },
    },
  },
}

const proxyPolicy = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: PROXY, namespace: NAMESPACE },
  spec: {
    podSelector: { matchLabels: labels },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ from: [{ podSelector: { matchLabels: { 'app.kubernetes.io/name': 'order' } } }], ports: [{ port: 5_432, protocol: 'TCP' }] }],
    // By the rules of order: DNS and Postgres are among them.
    egress: (own.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'order') as Live).spec.egress,
  },
}

type Edit = (spec: Live['spec']) => void

/** The same system with a proxy between order and Postgres: two edges more, and one less. */
function proxied(address: string): Manifest[] {
  const rename =
    (name: string): Edit =>
    spec => {
      for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])])
        for (const { podSelector } of [...(rule.from ?? []), ...(rule.to ?? [])])
          if (podSelector?.matchLabels?.['app.kubernetes.io/name'] === name) podSelector.matchLabels = labels
    }
  const edits: Record<string, Edit> = {
    [`NetworkPolicy ${NAMESPACE}/order`]: rename('postgres'),
    [`NetworkPolicy ${NAMESPACE}/postgres`]: rename('order'),
    [`Deployment ${NAMESPACE}/order`]: spec => {
      spec.template.spec.hostAliases = [{ ip: address, hostnames: [POSTGRES] }]
    },
  }
  const edited = structuredClone(direct)
  for (const manifest of edited) edits[nameOf(manifest)]?.(manifest.spec)
  return [...edited, service, proxy, proxyPolicy]
}

beforeAll(async () => {
  for (const { name } of system.services) await scaleTo(name, 2)
})
afterAll(restoreBounds)

describe('a release that takes away what the old version needs', () => {
  test('fails nobody: not when an edge is replaced by a detour, not when that is pruned', async () => {
    await cluster.apply(service)
    const address: string = (await cluster.read(service))?.spec.clusterIP
    const there = await underLoad('an edge goes, a program comes', () => release(proxied(address)))
    expect(there.failures).toEqual([])
    const policy = await cluster.read({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'order', namespace: NAMESPACE },
    })
    expect(JSON.stringify(policy?.spec)).not.toContain('"postgres"')

    let pruned: string[] = []
    const back = await underLoad('two edges and a program go', async () => {
      pruned = (await release(direct)).pruned
    })
    expect(back.failures).toEqual([])
    expect(pruned).toEqual([`Deployment ${NAMESPACE}/${PROXY}`, `Service ${NAMESPACE}/${PROXY}`, `NetworkPolicy ${NAMESPACE}/${PROXY}`])
  })

  test('changes nothing when it is repeated', async () => {
    const { changed, pruned } = await release(direct)
    // The autoscalers' bounds are held by these tests.
    expect([changed.filter(name => !name.startsWith('HorizontalPodAutoscaler')), pruned]).toEqual([[], []])
  })
})
