import { pause } from '../pause.ts'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import { nameOf } from './apply.ts'
import type { Cluster, Live, Reference } from './cluster.ts'
import { addToInventory, inventoryIn, readInventory } from './inventory.ts'
import { leaseIn } from './lease.ts'
import { type LeaveOptions, removeAll } from './leave.ts'
import { wasMadeHere } from './namespaces.ts'

const POLL_MS = 1_000

/** Kinds that `secrets` makes, which are in no inventory. */
const UNLISTED = ['Secret', 'ConfigMap']
const CLAIM = 'PersistentVolumeClaim'

export interface TornDown {
  removed: string[]
  /** Namespaces that were there before us. */
  kept: string[]
}

/** Deletes all that was deployed, data included, and the namespaces that were made for it. */
export async function tearDown(
  cluster: Cluster,
  { system, namespace }: { system: string; namespace: string },
  options: LeaveOptions,
): Promise<TornDown> {
  const applied = await readInventory(cluster, namespace)
  // A StatefulSet goes before its volumes: who goes on after an interruption no longer finds them by it.
  const known = await addToInventory(cluster, namespace, applied, await claimsOf(cluster, applied))
  const claims = known.filter(({ kind }) => kind === CLAIM)
  const listed = known.filter(({ kind }) => kind !== 'Namespace' && kind !== CLAIM)
  const removed = await removeAll(cluster, listed, options)
  const found = await Promise.all(known.filter(({ kind }) => kind === 'Namespace').map(reference => cluster.read(reference)))
  const namespaces = found.filter(live => live !== undefined)
  const adopted = namespaces.filter(live => !wasMadeHere(live))
  for (const live of adopted) {
    removed.push(...(await removeUnlisted(cluster, live.metadata.name, system, options)))
    // An apply that says nothing gives back every field that was ours: labels, and with them the Pod Security level.
    await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: live.metadata.name } })
  }
  const stays = (name?: string) => adopted.some(({ metadata }) => metadata.name === name)
  const left = claims.filter(({ metadata }) => stays(metadata.namespace))
  removed.push(...(await removeAll(cluster, left, options)))
  if (stays(namespace)) removed.push(...(await removeAll(cluster, [inventoryIn(namespace), leaseIn(namespace)], options)))
  const made = namespaces.filter(wasMadeHere)
  removed.push(...(await removeAll(cluster, made, options)))
  for (const live of made) await awaitNamespace(cluster, live, options)
  return { removed, kept: adopted.map(({ metadata }) => metadata.name) }
}

/** Volumes of StatefulSets, which outlive them. They have the names and labels that the API server gives them, and no others. */
async function claimsOf(cluster: Cluster, references: readonly Reference[]): Promise<Reference[]> {
  const sets = await Promise.all(references.filter(({ kind }) => kind === 'StatefulSet').map(reference => cluster.read(reference)))
  const claims = sets
    .filter(set => set !== undefined)
    .map(async ({ metadata: { name: set, namespace }, spec }) => {
      const prefixes = ((spec.volumeClaimTemplates ?? []) as Reference[]).map(template => `${template.metadata.name}-${set}-`)
      const selector = Object.entries(spec.selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
      const all = prefixes.length > 0 ? await cluster.list('v1', CLAIM, namespace, selector.join(',')) : []
      return all
        .filter(({ metadata: { name } }) => prefixes.some(prefix => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length))))
        .map(({ metadata: { name } }): Reference => ({ apiVersion: 'v1', kind: CLAIM, metadata: { name, namespace: namespace as string } }))
    })
  return (await Promise.all(claims)).flat()
}

async function removeUnlisted(cluster: Cluster, namespace: string, system: string, options: LeaveOptions): Promise<string[]> {
  const selector = `app.kubernetes.io/managed-by=fairlead,app.kubernetes.io/part-of=${system}`
  const found = UNLISTED.map(async kind => {
    const live = await cluster.list('v1', kind, namespace, selector)
    return live.map(({ metadata }): Reference => ({ apiVersion: 'v1', kind, metadata: { name: metadata.name, namespace } }))
  })
  return removeAll(cluster, (await Promise.all(found)).flat(), options)
}

async function awaitNamespace(cluster: Cluster, live: Live, { timeoutMs, signal }: LeaveOptions): Promise<void> {
  const endsAt = performance.now() + timeoutMs
  while (await cluster.read(live)) {
    if (performance.now() > endsAt)
      throw new CommandError(`${nameOf(live)} is still being deleted`, toRun(kubectl(cluster.context, `get namespace ${live.metadata.name} -o yaml`)))
    await pause(POLL_MS, signal)
  }
}
