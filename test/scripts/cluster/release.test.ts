import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { nameOf } from '../../../scripts/cluster/apply.ts'
import type { Cluster, Live, Reference } from '../../../scripts/cluster/cluster.ts'
import { rollOut } from '../../../scripts/cluster/release.ts'
import { toRun } from '../../../scripts/remedy.ts'
import { type FakeCluster, fakeCluster, skipPauses } from '../../support/fake-cluster.ts'

const { signal } = new AbortController()
const steps = { done: [], step: <T>(_title: string, work: () => Promise<T>) => work() }

const deployment = (name: string, image: string): Manifest => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'acme', labels: { app: name } },
  spec: { replicas: 1, selector: { matchLabels: { app: name } }, template: { image } },
})
const policy = (name: string, ...peers: string[]): Manifest => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'acme' },
  spec: {
    podSelector: { matchLabels: { app: name } },
    policyTypes: ['Ingress', 'Egress'],
    egress: peers.map(app => ({ to: [{ podSelector: { app } }] })),
  },
})

/** The booking service reaches its database through a proxy, and then by itself. */
const before = [policy('booking', 'proxy'), policy('proxy', 'postgres'), deployment('booking', '1'), deployment('proxy', '1')]
const after = [policy('booking', 'postgres'), deployment('booking', '2')]

/** An API server with controllers: a new template replaces the pod, and a pod that leaves is there for a while. */
function liveCluster({ stuck = false, lingering = false } = {}) {
  const fake = fakeCluster([])
  const log: string[] = []
  const control = { stuck, lingering }
  const seen = new Map<string, number>()
  /** How often something was looked at. */
  const looks = (key: string) => seen.set(key, (seen.get(key) ?? 0) + 1).get(key) ?? 0
  const pod = (name: string, image: string): Live => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${name}-${image}`, namespace: 'acme', labels: { app: name } },
  })
  const leave = (name: string, image: string) => {
    const old = fake.objects.get(`Pod acme/${name}-${image}`)
    if (old) old.metadata.deletionTimestamp = 'now'
  }
  const { read, list, remove } = fake.cluster
  const cluster: Cluster = {
    ...fake.cluster,
    apply: async manifest => {
      const name = nameOf(manifest)
      const known = fake.objects.get(name)
      const { spec } = manifest as Live
      if (manifest.kind === 'NetworkPolicy')
        log.push(`${name}: ${spec.egress.map((rule: { to: { podSelector: { app: string } }[] }) => rule.to[0]?.podSelector.app).join(' and ')}`)
      if (manifest.kind === 'Deployment') {
        log.push(`${name}: ${spec.template.image}`)
        fake.put(pod(manifest.metadata.name, spec.template.image))
        if (known) log.push(`begins ${name}`)
      }
      fake.put({ ...manifest, status: known ? {} : { updatedReplicas: 1, replicas: 1, readyReplicas: 1 } } as Reference)
      return known ? 'configured' : 'created'
    },
    read: async reference => {
      const live = await read(reference)
      if (live?.kind === 'Deployment' && live.status.updatedReplicas !== 1 && !control.stuck && looks(nameOf(live)) > 2) {
        live.status = { updatedReplicas: 1, replicas: 1, readyReplicas: 1 }
        log.push(`ready ${nameOf(live)}`)
        leave(live.metadata.name, '1')
      }
      return live
    },
    list: async (apiVersion, kind, namespace, selector = '') => {
      const found = await list(apiVersion, kind, namespace, selector.replace(',!fairlead.dev/probe', ''))
      for (const live of found)
        if (live.metadata.deletionTimestamp && !control.lingering && looks(nameOf(live)) > 2) {
          fake.objects.delete(nameOf(live))
          log.push(`gone ${nameOf(live)}`)
        }
      return found.filter(live => fake.objects.has(nameOf(live)))
    },
    remove: async reference => {
      log.push(`remove ${nameOf(reference)}`)
      if (reference.kind === 'Deployment') leave(reference.metadata.name, '1')
      return remove(reference)
    },
  }
  const release = (manifests: Manifest[], timeoutMs = 60_000) => rollOut(cluster, manifests, steps, { namespace: 'acme', timeoutMs, signal })
  return { fake, log, release, control }
}

const egressOf = ({ objects }: FakeCluster, name: string): string[] =>
  objects.get(`NetworkPolicy acme/${name}`)?.spec.egress.map((rule: { to: { podSelector: { app: string } }[] }) => rule.to[0]?.podSelector.app)

describe('a release', () => {
  test('adds and widens, rolls out, and takes away only once the pods that need it have gone', async () => {
    skipPauses()
    const { log, release } = liveCluster()
    await release(before)
    log.length = 0
    const { changed, pruned } = await release(after)
    expect(log).toEqual([
      'NetworkPolicy acme/booking: proxy and postgres',
      'Deployment acme/booking: 2',
      'begins Deployment acme/booking',
      'ready Deployment acme/booking',
      'gone Pod acme/booking-1',
      'NetworkPolicy acme/booking: postgres',
      'remove Deployment acme/proxy',
      'gone Pod acme/proxy-1',
      'remove NetworkPolicy acme/proxy',
    ])
    expect(changed).toEqual(['NetworkPolicy acme/booking', 'Deployment acme/booking'])
    expect(pruned).toEqual(['Deployment acme/proxy', 'NetworkPolicy acme/proxy'])
  })

  test('that fails halfway has taken nothing away, and the next one goes on', async () => {
    skipPauses()
    const { fake, log, release, control } = liveCluster()
    await release(before)
    control.stuck = true
    log.length = 0
    await expect(release(after, 0)).rejects.toThrow('not ready after 0 s')
    expect(egressOf(fake, 'booking')).toEqual(['proxy', 'postgres'])
    expect(egressOf(fake, 'proxy')).toEqual(['postgres'])
    expect(log.filter(line => /^(remove|gone)/.test(line))).toEqual([])
    control.stuck = false
    expect((await release(after)).pruned).toEqual(['Deployment acme/proxy', 'NetworkPolicy acme/proxy'])
    expect(egressOf(fake, 'booking')).toEqual(['postgres'])
  })

  test('takes nothing away from a pod that does not leave, and names it', async () => {
    skipPauses()
    const { fake, release } = liveCluster({ lingering: true })
    await release(before)
    await expect(release(after, 30_000)).rejects.toMatchObject({
      message: 'after 30 s still there: Pod acme/booking-1; nothing was taken away that they may need',
      remedy: toRun('kubectl --context kind-test -n acme describe pod booking-1'),
    })
    expect(egressOf(fake, 'booking')).toEqual(['proxy', 'postgres'])
    expect(fake.objects.has('Deployment acme/proxy')).toBe(true)
  })
})
