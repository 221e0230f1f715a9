import type { Manifest } from '@fairlead/infra/tools'
import type { Cluster, Live, Reference } from './cluster.ts'

/** Annotation of a namespace that was made here: ours to delete. One that was there before belongs to others. */
const MADE_HERE = 'fairlead.dev/made-here'

/** Makes or adopts namespaces. */
export async function ensureNamespaces(cluster: Cluster, manifests: readonly Manifest[]): Promise<void> {
  for (const manifest of manifests.filter(({ kind }) => kind === 'Namespace')) {
    const { apiVersion, kind, metadata } = manifest
    // By a request that fails when it is there: the mark tells who made it, also when this run is killed right after.
    await cluster.create({ apiVersion, kind, metadata: { name: metadata.name, annotations: { [MADE_HERE]: 'true' } } } as Reference)
    await cluster.apply(manifest)
  }
}

export const wasMadeHere = ({ metadata }: Live): boolean => metadata.annotations?.[MADE_HERE] === 'true'
