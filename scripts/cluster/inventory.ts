import type { Manifest } from '@fairlead/infra/tools'
import type { Cluster, Reference } from './cluster.ts'

/**
 * Remembers in the cluster what was applied, so that what the graph no longer has can be pruned. While an apply runs it holds the
 * old and the new: a run that is killed loses track of nothing.
 */
const NAME = 'fairlead-inventory'

/** Never pruned: they hold data, or things of others. */
const KEPT = ['Namespace', 'PersistentVolumeClaim', 'Secret', 'CustomResourceDefinition']

const keyOf = ({ apiVersion, kind, metadata: { namespace = '', name } }: Reference): string => [apiVersion, kind, namespace, name].join('|')

const referenceOf = (key: string): Reference => {
  const [apiVersion = '', kind = '', namespace = '', name = ''] = key.split('|')
  return { apiVersion, kind, metadata: { name, ...(namespace && { namespace }) } }
}

export const inventoryIn = (namespace: string): Reference => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: NAME, namespace } })

export async function readInventory(cluster: Cluster, namespace: string): Promise<Reference[]> {
  const found = await cluster.read(inventoryIn(namespace))
  return (found?.data?.objects ?? '').split('\n').filter(Boolean).map(referenceOf)
}

async function writeInventory(cluster: Cluster, namespace: string, objects: readonly Reference[]): Promise<void> {
  const keys = [...new Set(objects.map(keyOf))].sort()
  const labels = { 'app.kubernetes.io/name': NAME, 'app.kubernetes.io/managed-by': 'fairlead' }
  await cluster.apply({
    ...inventoryIn(namespace),
    metadata: { name: NAME, namespace, labels },
    data: { objects: `${keys.join('\n')}\n` },
  } as never)
}

/** Remembers more than was applied. @returns all that is known now */
export async function addToInventory(
  cluster: Cluster,
  namespace: string,
  known: readonly Reference[],
  more: readonly Reference[],
): Promise<Reference[]> {
  const added = more.filter(one => !known.some(reference => keyOf(reference) === keyOf(one)))
  const all = [...known, ...added]
  if (added.length > 0) await writeInventory(cluster, namespace, all)
  return all
}

/** What the last apply knew and this one no longer wants. */
export const toPrune = (known: readonly Reference[], wanted: readonly Reference[]): Reference[] => {
  const wantedKeys = new Set(wanted.map(keyOf))
  return known.filter(reference => !wantedKeys.has(keyOf(reference)) && !KEPT.includes(reference.kind))
}

/**
 * Applies by `apply`, and then has `prune` delete what is no longer wanted. While they run the inventory has both: the next run goes on
 * where this one stopped.
 * @returns what was deleted, as `Kind namespace/name`
 */
export async function withInventory<T>(
  cluster: Cluster,
  namespace: string,
  wanted: readonly Manifest[],
  apply: () => Promise<T>,
  prune: (leaving: readonly Reference[]) => Promise<string[]>,
): Promise<{ result: T; pruned: string[] }> {
  const known = await readInventory(cluster, namespace)
  const leaving = toPrune(known, wanted)
  const added = wanted.filter(manifest => !known.some(reference => keyOf(reference) === keyOf(manifest)))
  if (added.length > 0) await writeInventory(cluster, namespace, [...known, ...wanted])
  const result = await apply()
  const pruned = leaving.length > 0 ? await prune(leaving) : []
  // Namespaces stay known: they are not pruned, but npx fairlead down takes those that were made here.
  const namespaces = known.filter(({ kind }) => kind === 'Namespace')
  if (added.length > 0 || leaving.length > 0) await writeInventory(cluster, namespace, [...namespaces, ...wanted])
  return { result, pruned }
}
