import type { Manifest } from '@fairlead/infra/tools'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import type { Applied, Cluster, Reference } from './cluster.ts'
import { ApiError, UnknownKind } from './rest.ts'

const PARALLEL = 6
/** What others need to be there: the lower, the earlier. */
const FIRST = ['Namespace', 'CustomResourceDefinition', 'ServiceAccount', 'ClusterRole', 'Role', 'ConfigMap', 'Secret', 'NetworkPolicy', 'Service']
const waveOf = ({ kind }: Reference): number => {
  const wave = FIRST.findIndex(first => kind === first || kind === `${first}Binding`)
  return wave < 0 ? FIRST.length : wave
}

/** Objects in the order of their need, as lists that can be applied at once. */
export function waves<T extends Reference>(manifests: readonly T[]): T[][] {
  const grouped = new Map<number, T[]>()
  for (const manifest of manifests) grouped.set(waveOf(manifest), [...(grouped.get(waveOf(manifest)) ?? []), manifest])
  return [...grouped].sort(([a], [b]) => a - b).map(([, group]) => group)
}

export interface ApplyResult {
  counts: Record<Applied, number>
  /** What was created or changed, as `Kind namespace/name`. */
  changed: string[]
}

export const nameOf = ({ kind, metadata: { namespace, name } }: Reference): string => `${kind} ${namespace ? `${namespace}/` : ''}${name}`

/**
 * Applies everything, what others need first.
 * @throws CommandError naming what cannot be applied; of objects that would have to be made anew, all of a kind at once
 */
export async function applyAll(cluster: Cluster, manifests: readonly Manifest[], { signal }: { signal: AbortSignal }): Promise<ApplyResult> {
  const counts = { created: 0, configured: 0, unchanged: 0 }
  const changed: string[] = []
  for (const wave of waves(manifests)) {
    const immutable: Manifest[] = []
    await inParallel(wave, async manifest => {
      signal.throwIfAborted()
      const outcome = await applyOne(cluster, manifest)
      if (outcome === 'immutable') immutable.push(manifest)
      else counts[outcome]++
      if (outcome === 'created' || outcome === 'configured') changed.push(nameOf(manifest))
    })
    if (immutable.length > 0) throw mustBeMadeAnew(cluster, immutable)
  }
  return { counts, changed }
}

/** What the API server says of fields that an object keeps for life: in general, of a StatefulSet, of a binding. */
const IMMUTABLE = /field is immutable|updates to \w+ spec for fields other than|cannot change roleRef/

async function applyOne(cluster: Cluster, manifest: Manifest): Promise<Applied | 'immutable'> {
  try {
    return await cluster.apply(manifest)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (IMMUTABLE.test(error.message)) return 'immutable'
    throw new CommandError(
      `${nameOf(manifest)} cannot be applied: ${error.message}${error instanceof UnknownKind ? ': apply its CustomResourceDefinition first (--crds)' : ''}`,
      toRun(kubectl(cluster.context, `explain ${manifest.kind.toLowerCase()}`)),
    )
  }
}

/** E.g. Deployments whose selector has changed. Nobody but their owner may decide to be without them for a moment. */
function mustBeMadeAnew({ context }: Cluster, manifests: readonly Manifest[]): CommandError {
  const deletions = manifests.map(({ kind, metadata: { name, namespace } }) =>
    kubectl(context, `${namespace ? `-n ${namespace} ` : ''}delete ${kind.toLowerCase()} ${name}`),
  )
  const names = manifests.map(nameOf).join(', ')
  return new CommandError(
    `${names}: what the graph says now cannot be changed in what is there; delete ${manifests.length > 1 ? 'them' : 'it'}, which stops the pods, and deploy again`,
    toRun(deletions.join(' && ')),
  )
}

export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>, limit = PARALLEL): Promise<void> {
  const rest = [...items]
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
}
