import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { nameOf } from '../../../scripts/cluster/apply.ts'
import type { Cluster, Live, Reference } from '../../../scripts/cluster/cluster.ts'
import { ensureNamespaces } from '../../../scripts/cluster/namespaces.ts'
import { tearDown } from '../../../scripts/cluster/tear-down.ts'
import { fakeCluster } from '../../support/fake-cluster.ts'

const options = { timeoutMs: 1_000, signal: new AbortController().signal }
const ours = { 'app.kubernetes.io/managed-by': 'fairlead', 'app.kubernetes.io/part-of': 'acme' }

const selected = { 'app.kubernetes.io/name': 'postgres' }

const namespace = (name: string): Manifest => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: ours } })
const object = (kind: string, name: string, labels = {}): Reference & { metadata: { labels: object } } => ({
  apiVersion: kind === 'StatefulSet' ? 'apps/v1' : 'v1',
  kind,
  metadata: { name, namespace: 'acme', labels },
})

/** Applies as a field manager does: what another has set stays. */
function deployed(adopted: readonly Reference[]) {
  const fake = fakeCluster(adopted)
  const { create } = fake.cluster
  const cluster: Cluster = {
    ...fake.cluster,
    create: async manifest => (fake.objects.has(nameOf(manifest)) ? false : create(manifest)),
    apply: async manifest => {
      const live = fake.objects.get(nameOf(manifest))
      const kept = Object.entries(live?.metadata.labels ?? {}).filter(([key]) => !(key in ours))
      const { labels = {} } = (manifest as Manifest).metadata
      fake.put({
        ...live,
        ...manifest,
        metadata: { ...live?.metadata, ...manifest.metadata, labels: { ...Object.fromEntries(kept), ...labels } },
      } as Live)
      return live ? 'configured' : 'created'
    },
  }
  return { fake, cluster }
}

async function deploy(cluster: Cluster, put: (...objects: Reference[]) => void): Promise<void> {
  await ensureNamespaces(cluster, [namespace('acme'), namespace('ingress')])
  const spec = { selector: { matchLabels: selected }, volumeClaimTemplates: [{ metadata: { name: 'data' } }] }
  put({ ...object('StatefulSet', 'postgres'), spec } as Reference)
  put(object('Secret', 'seals', ours), object('PersistentVolumeClaim', 'data-postgres-0', selected))
  put({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'fairlead-deploy', namespace: 'acme' } })
  put(object('Secret', 'of-others'), object('PersistentVolumeClaim', 'of-others'))
  const inventory = ['v1|Namespace||acme', 'v1|Namespace||ingress', 'apps/v1|StatefulSet|acme|postgres'].join('\n')
  put({ ...object('ConfigMap', 'fairlead-inventory'), data: { objects: inventory } } as Reference)
}

const namespaceOfOthers = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'acme', labels: { team: 'a' } } } as Reference

describe('tearing down', () => {
  test('deletes the namespaces that were made for the system', async () => {
    const { fake, cluster } = deployed([])
    await deploy(cluster, fake.put)
    const { removed, kept } = await tearDown(cluster, { system: 'acme', namespace: 'acme' }, options)
    expect(removed).toEqual(['StatefulSet acme/postgres', 'Namespace acme', 'Namespace ingress'])
    expect(kept).toEqual([])
  })

  test('leaves a namespace that was there before, with what others have in it and without what was ours', async () => {
    const { fake, cluster } = deployed([namespaceOfOthers])
    await deploy(cluster, fake.put)
    const { removed, kept } = await tearDown(cluster, { system: 'acme', namespace: 'acme' }, options)
    expect(kept).toEqual(['acme'])
    expect(removed.sort()).toEqual([
      'ConfigMap acme/fairlead-inventory',
      'Lease acme/fairlead-deploy',
      'Namespace ingress',
      'PersistentVolumeClaim acme/data-postgres-0',
      'Secret acme/seals',
      'StatefulSet acme/postgres',
    ])
    expect(fake.objects.get('Namespace acme')?.metadata.labels).toEqual({ team: 'a' })
    expect([...fake.objects.keys()].sort()).toEqual(['Namespace acme', 'PersistentVolumeClaim acme/of-others', 'Secret acme/of-others'])
  })

  test('goes on after an interruption: the volume of a StatefulSet that went before goes, too', async () => {
    const { fake, cluster } = deployed([namespaceOfOthers])
    await deploy(cluster, fake.put)
    const interrupted: Cluster = {
      ...cluster,
      remove: async reference => {
        if (reference.kind === 'PersistentVolumeClaim') throw new Error('interrupted')
        return cluster.remove(reference)
      },
    }
    await expect(tearDown(interrupted, { system: 'acme', namespace: 'acme' }, options)).rejects.toThrow('interrupted')
    expect(fake.objects.has('StatefulSet acme/postgres')).toBe(false)
    const { removed } = await tearDown(cluster, { system: 'acme', namespace: 'acme' }, options)
    expect(removed).toContain('PersistentVolumeClaim acme/data-postgres-0')
    expect([...fake.objects.keys()].sort()).toEqual(['Namespace acme', 'PersistentVolumeClaim acme/of-others', 'Secret acme/of-others'])
  })

  test('leaves volumes of another whose names begin the same', async () => {
    const { fake, cluster } = deployed([namespaceOfOthers])
    await deploy(cluster, fake.put)
    const replica = object('PersistentVolumeClaim', 'data-postgres-replica-0', selected)
    const byHand = object('PersistentVolumeClaim', 'data-postgres-1')
    fake.put(replica, byHand)
    const { removed } = await tearDown(cluster, { system: 'acme', namespace: 'acme' }, options)
    expect(removed.filter(name => name.startsWith('PersistentVolumeClaim'))).toEqual(['PersistentVolumeClaim acme/data-postgres-0'])
    for (const { metadata } of [replica, byHand]) expect(fake.objects.has(`PersistentVolumeClaim acme/${metadata.name}`)).toBe(true)
  })

  test('takes the certificate out of an adopted namespace of the ingress', async () => {
    const { fake, cluster } = deployed([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'ingress' } }])
    await deploy(cluster, fake.put)
    const certificate = (name: string, labels: object): Reference =>
      ({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: 'ingress', labels } }) as Reference
    fake.put(certificate('acme-tls', ours), certificate('blog-tls', { ...ours, 'app.kubernetes.io/part-of': 'blog' }))
    const { removed, kept } = await tearDown(cluster, { system: 'acme', namespace: 'acme' }, options)
    expect(kept).toEqual(['ingress'])
    expect(removed).toContain('Secret ingress/acme-tls')
    expect(fake.objects.has('Secret ingress/blog-tls')).toBe(true)
  })

  test('knows a namespace of its own again after another deploy', async () => {
    const { fake, cluster } = deployed([])
    await deploy(cluster, fake.put)
    await ensureNamespaces(cluster, [namespace('acme')])
    expect((await tearDown(cluster, { system: 'acme', namespace: 'acme' }, options)).kept).toEqual([])
  })
})
