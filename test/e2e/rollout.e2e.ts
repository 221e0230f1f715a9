import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { system } from '../../infra/system.ts'
import { stateOf } from '../../scripts/cluster/rollout.ts'
import { underLoad } from './support/load.ts'
import { restoreBounds, scaleTo } from './support/scale.ts'
import { cluster, eventually, NAMESPACE, readyPods } from './support/target.ts'

const services = system.services.map(({ name }) => name)
const deployment = (name: string) => ({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: NAMESPACE } })
const pdbTimeoutMs = 120_000
/** Seldom: whoever asks a small machine's API server all the time takes from what is measured. */
const ASK_EVERY_MS = 2_000

beforeAll(async () => {
  // Held at two: the load alone would have the autoscaler add pods.
  for (const name of services) await scaleTo(name, 2)
})

afterAll(restoreBounds)

/** Every pod is of the newest template and ready, and none that leaves is left: those have to finish their requests, too. */
const settled = (name: string) =>
  eventually(
    async () => ({
      state: await stateOf(cluster, deployment(name)),
      pods: await cluster.list('v1', 'Pod', NAMESPACE, `app.kubernetes.io/name=${name}`),
    }),
    ({ state: { done, reason, ready, desired }, pods }) => {
      if (!done || pods.length !== desired) throw new Error(`${name}: ${ready}/${desired} ready, ${pods.length} pods, ${reason}`)
    },
    180_000,
    ASK_EVERY_MS,
  )

/** Evicts a pod as \`kubectl drain\` does: a disruption budget may ask for patience. */
async function evict(name: string, namespace: string): Promise<void> {
  const endsAt = performance.now() + pdbTimeoutMs
  while (!(await cluster.evict(namespace, name))) {
    if (performance.now() > endsAt) throw new Error(`${namespace}/${name} was not evicted in ${pdbTimeoutMs} ms`)
    await pause(1_000)
  }
}

describe('nothing is refused or reset', () => {
  test('while both services restart', async () => {
    const { failures } = await underLoad('restart', async () => {
      for (const name of services) {
        await cluster.patch(deployment(name), {
          spec: { template: { metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() } } } },
        })
      }
      for (const name of services) await settled(name)
    })
    expect(failures).toEqual([])
  })

  test('while they grow to four pods and shrink to two', async () => {
    const { failures } = await underLoad('2 -> 4 -> 2', async () => {
      await Promise.all(services.map(name => scaleTo(name, 4)))
      await Promise.all(services.map(name => scaleTo(name, 2)))
    })
    expect(failures).toEqual([])
  })

  test('while a pod of each is deleted', async () => {
    const { failures } = await underLoad('a pod deleted', async () => {
      for (const name of services) {
        const [pod] = await readyPods(name)
        if (pod) await cluster.remove({ apiVersion: 'v1', kind: 'Pod', metadata: { name: pod.metadata.name, namespace: NAMESPACE } })
      }
      await eventually(
        async () => (await Promise.all(services.map(name => readyPods(name)))).map(pods => pods.length),
        counts => expect(counts).toEqual([2, 2]),
        60_000,
        ASK_EVERY_MS,
      )
      for (const name of services) await settled(name)
    })
    expect(failures).toEqual([])
  })

  test('while a node is drained', async context => {
    const nodes = await cluster.list('v1', 'Node')
    const [database] = await readyPods('postgres')
    const workers = nodes.filter(({ metadata }) => !('node-role.kubernetes.io/control-plane' in metadata.labels))
    const pods = (await Promise.all(services.map(name => readyPods(name)))).flat()
    // Not the node of the one database, which cannot move.
    const node = workers.find(({ metadata }) => metadata.name !== database?.spec.nodeName && pods.some(({ spec }) => spec.nodeName === metadata.name))
    if (!node) return context.skip('the cluster has no worker node to drain: npx fairlead up --workers 2')
    const reference = { apiVersion: 'v1', kind: 'Node', metadata: { name: node.metadata.name } }
    try {
      const { failures } = await underLoad(`drain of ${node.metadata.name}`, async () => {
        await cluster.patch(reference, { spec: { unschedulable: true } })
        const there = (await cluster.list('v1', 'Pod')).filter(
          ({ spec, metadata }) => spec.nodeName === node.metadata.name && metadata.ownerReferences?.[0]?.kind !== 'DaemonSet',
        )
        await Promise.all(there.map(({ metadata: { name, namespace = '' } }) => evict(name, namespace)))
        for (const name of services) await settled(name)
        await eventually(
          async () => (await Promise.all(services.map(name => readyPods(name)))).flat(),
          ready => {
            expect(ready.filter(({ spec }) => spec.nodeName === node.metadata.name)).toEqual([])
            expect(ready).toHaveLength(4)
          },
          60_000,
          ASK_EVERY_MS,
        )
      })
      expect(failures).toEqual([])
    } finally {
      await cluster.patch(reference, { spec: { unschedulable: null } })
    }
  })
})
