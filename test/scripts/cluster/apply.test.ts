import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { applyAll, inParallel, nameOf, waves } from '../../../scripts/cluster/apply.ts'
import type { Cluster, Reference } from '../../../scripts/cluster/cluster.ts'
import { readInventory, toPrune, withInventory } from '../../../scripts/cluster/inventory.ts'
import { ApiError, UnknownKind } from '../../../scripts/cluster/rest.ts'
import { toRun } from '../../../scripts/remedy.ts'
import { images, project, system } from '../../support/acme.ts'

const { own, platform } = synthesize({ ...project, settings: loadSettings({}, system), images })
const manifests = [...platform, ...own]
const { signal } = new AbortController()

const object = (kind: string, name: string): Manifest => ({
  apiVersion: kind === 'ConfigMap' ? 'v1' : 'apps/v1',
  kind,
  metadata: { name, namespace: 'acme' },
})

/** An API server that remembers what it was sent, in order. */
function fakeCluster(initial: readonly Manifest[] = []) {
  const objects = new Map(initial.map(manifest => [nameOf(manifest), manifest]))
  const log: string[] = []
  const cluster = {
    context: 'kind-test',
    read: async (reference: Manifest) => objects.get(nameOf(reference)),
    apply: async (manifest: Manifest) => {
      const known = objects.get(nameOf(manifest))
      objects.set(nameOf(manifest), manifest)
      log.push(`apply ${nameOf(manifest)}`)
      return known ? 'configured' : 'created'
    },
    remove: async (reference: Manifest) => {
      log.push(`remove ${nameOf(reference)}`)
      return objects.delete(nameOf(reference))
    },
  } as unknown as Cluster
  return { cluster, objects, log }
}

describe('the order of an apply', () => {
  test('brings what others need first', () => {
    const order = waves(manifests).map(wave => [...new Set(wave.map(({ kind }) => kind))].sort())
    expect(order[0]).toEqual(['Namespace'])
    expect(order[1]).toEqual(['ServiceAccount'])
    const at = (kind: string) => order.findIndex(kinds => kinds.includes(kind))
    expect(at('ConfigMap')).toBeLessThan(at('Deployment'))
    expect(at('Role')).toBeLessThan(at('Deployment'))
    expect(at('NetworkPolicy')).toBeLessThan(at('Deployment'))
    expect(at('RoleBinding')).toBe(at('Role'))
  })

  test('leaves nothing out', () => {
    expect(waves(manifests).flat().map(nameOf).sort()).toEqual(manifests.map(nameOf).sort())
  })

  test('counts what was made and names what changed', async () => {
    const { cluster } = fakeCluster([object('Deployment', 'a')])
    const { counts, changed } = await applyAll(cluster, [object('Deployment', 'a'), object('ConfigMap', 'b')], { signal })
    expect(counts).toEqual({ created: 1, configured: 1, unchanged: 0 })
    expect(changed).toEqual(['ConfigMap acme/b', 'Deployment acme/a'])
  })

  test('says which object was refused, why, and what to do', async () => {
    const { cluster } = fakeCluster()
    const refusing = { ...cluster, apply: () => Promise.reject(new UnknownKind({ apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor' })) }
    await expect(applyAll(refusing, [object('ServiceMonitor', 'user')], { signal })).rejects.toMatchObject({
      message:
        'ServiceMonitor acme/user cannot be applied: the cluster knows no ServiceMonitor in monitoring.coreos.com/v1: apply its CustomResourceDefinition first (--crds)',
      remedy: toRun('kubectl --context kind-test explain servicemonitor'),
    })
  })

  test('names all that must be made anew at once, with the commands that remove it, and applies what it can', async () => {
    const { cluster, log } = fakeCluster()
    const immutable = new ApiError(422, 'Deployment.apps "a" is invalid: spec.selector: Invalid value: {}: field is immutable')
    const refusing = {
      ...cluster,
      apply: (manifest: Manifest) => (/^[ac]$/.test(manifest.metadata.name) ? Promise.reject(immutable) : cluster.apply(manifest)),
    }
    const all = [...['a', 'b', 'c'].map(name => object('Deployment', name)), object('ConfigMap', 'd')]
    await expect(applyAll(refusing, all, { signal })).rejects.toMatchObject({
      message:
        'Deployment acme/a, Deployment acme/c: what the graph says now cannot be changed in what is there; delete them, which stops the pods, and deploy again',
      remedy: toRun('kubectl --context kind-test -n acme delete deployment a && kubectl --context kind-test -n acme delete deployment c'),
    })
    expect(log).toEqual(['apply ConfigMap acme/d', 'apply Deployment acme/b'])
  })

  test.each([
    "StatefulSet.apps \"a\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    'RoleBinding.rbac.authorization.k8s.io "a" is invalid: roleRef: Invalid value: rbac.RoleRef{}: cannot change roleRef',
    'ConfigMap "a" is invalid: data: Forbidden: field is immutable when `immutable` is set',
  ])('knows that an object must be made anew by %j', async message => {
    const refusing = { ...fakeCluster().cluster, apply: () => Promise.reject(new ApiError(422, message)) }
    await expect(applyAll(refusing, [object('StatefulSet', 'a')], { signal })).rejects.toMatchObject({
      message: expect.stringContaining('cannot be changed in what is there; delete it'),
      remedy: toRun('kubectl --context kind-test -n acme delete statefulset a'),
    })
  })

  test('stops when it is interrupted', async () => {
    const { cluster, log } = fakeCluster()
    await expect(applyAll(cluster, [object('ConfigMap', 'a')], { signal: AbortSignal.abort() })).rejects.toThrow()
    expect(log).toEqual([])
  })
})

test('inParallel does everything, a few at a time', async () => {
  let running = 0
  let most = 0
  const done: number[] = []
  await inParallel(
    Array.from({ length: 20 }, (_, n) => n),
    async n => {
      most = Math.max(most, ++running)
      await pause(1)
      running--
      done.push(n)
    },
    3,
  )
  expect([done.length, most]).toEqual([20, 3])
})

const remove = (cluster: Cluster) => async (leaving: readonly Reference[]) => {
  const pruned: string[] = []
  for (const reference of leaving) if (await cluster.remove(reference)) pruned.push(nameOf(reference))
  return pruned
}

describe('the inventory', () => {
  const a = object('Deployment', 'a')
  const b = object('ConfigMap', 'b')

  test('prunes what is no longer wanted, and never data', () => {
    const known = [
      a,
      b,
      object('Secret', 's'),
      object('PersistentVolumeClaim', 'p'),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'acme' } },
    ]
    expect(toPrune(known, [b]).map(nameOf)).toEqual(['Deployment acme/a'])
    expect(toPrune(known, [a, b])).toEqual([])
  })

  test('knows old and new objects while they are applied, and only the new ones afterwards', async () => {
    const { cluster, objects } = fakeCluster()
    const listed = () =>
      (objects.get('ConfigMap acme/fairlead-inventory') as unknown as { data: { objects: string } }).data.objects.trim().split('\n')
    await withInventory(cluster, 'acme', [a], async () => {}, remove(cluster))
    expect(listed()).toEqual(['apps/v1|Deployment|acme|a'])
    let during: string[] = []
    const { pruned } = await withInventory(
      cluster,
      'acme',
      [b],
      async () => {
        during = listed()
      },
      remove(cluster),
    )
    expect(during).toEqual(['apps/v1|Deployment|acme|a', 'v1|ConfigMap|acme|b'])
    expect(listed()).toEqual(['v1|ConfigMap|acme|b'])
    expect(pruned).toEqual([])
  })

  test('goes on knowing a namespace that the graph no longer has', async () => {
    const { cluster } = fakeCluster()
    const ingress: Manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'ingress' } }
    await withInventory(cluster, 'acme', [a, ingress], async () => {}, remove(cluster))
    await withInventory(cluster, 'acme', [b], async () => {}, remove(cluster))
    expect((await readInventory(cluster, 'acme')).map(nameOf)).toEqual(['ConfigMap acme/b', 'Namespace ingress'])
  })

  test('deletes what the last apply brought, after the new is there', async () => {
    const { cluster, log } = fakeCluster()
    await withInventory(cluster, 'acme', [a], async () => void (await cluster.apply(a)), remove(cluster))
    log.length = 0
    const { pruned } = await withInventory(cluster, 'acme', [b], async () => void (await cluster.apply(b)), remove(cluster))
    expect(pruned).toEqual(['Deployment acme/a'])
    expect(log.indexOf('apply ConfigMap acme/b')).toBeLessThan(log.indexOf('remove Deployment acme/a'))
  })

  test('loses track of nothing when the apply fails', async () => {
    const { cluster } = fakeCluster()
    await withInventory(cluster, 'acme', [a], async () => void (await cluster.apply(a)), remove(cluster))
    await expect(withInventory(cluster, 'acme', [b], () => Promise.reject(new Error('killed')), remove(cluster))).rejects.toThrow('killed')
    const { pruned } = await withInventory(cluster, 'acme', [b], async () => {}, remove(cluster))
    expect(pruned).toEqual(['Deployment acme/a'])
  })

  test('writes nothing when nothing changes', async () => {
    const { cluster, log } = fakeCluster()
    await withInventory(cluster, 'acme', [a], async () => {}, remove(cluster))
    log.length = 0
    await withInventory(cluster, 'acme', [a], async () => {}, remove(cluster))
    expect(log).toEqual([])
  })
})
