import type { Manifest } from '../../infra/kit/objects/manifest.ts'

/** A field that a construct of cdk8s-plus writes and that the objects of test/shop/snapshots are without. */
interface Difference {
  kind: string
  /** Where it stands, by names of fields. */
  path: string
  value: unknown
  /** Why a cluster does the same with it as without it. */
  reason: string
}

export const ACCEPTED: Difference[] = [
  { kind: 'ConfigMap', path: 'immutable', value: false, reason: 'the default of the API' },
  { kind: 'Secret', path: 'immutable', value: false, reason: 'the default of the API' },
  { kind: 'Namespace', path: 'spec', value: {}, reason: 'the API server fills in its finalizer, with an empty spec and with none' },
  ...['scaleUp', 'scaleDown'].map(direction => ({
    kind: 'HorizontalPodAutoscaler',
    path: `spec.behavior.${direction}.selectPolicy`,
    value: 'Max',
    reason: 'the default of the API',
  })),
]

// biome-ignore lint/suspicious/noExplicitAny: fields of many kinds
type Loose = any

/** The object that a field stands in, and its name there. */
function place(object: Manifest, path: string): [parent: Loose, field: string] {
  const fields = path.split('.')
  const field = fields.pop() as string
  return [fields.reduce((at: Loose, name) => at?.[name], object), field]
}

export const has = (object: Manifest, { kind, path, value }: Difference): boolean => {
  if (object.kind !== kind) return false
  const [parent, field] = place(object, path)
  return JSON.stringify(parent?.[field]) === JSON.stringify(value)
}

/** The object as it is but for what is accepted. */
export function withoutAccepted(object: Manifest): Manifest {
  const plain = structuredClone(object)
  for (const difference of ACCEPTED) {
    if (!has(plain, difference)) continue
    const [parent, field] = place(plain, difference.path)
    delete parent[field]
  }
  return plain
}
