import { isDeepStrictEqual } from 'node:util'
import type { Manifest } from '@fairlead/infra/tools'
import { inParallel } from './apply.ts'
import type { Cluster, Live } from './cluster.ts'

interface PolicySpec {
  podSelector: object
  policyTypes?: string[]
  ingress?: object[]
  egress?: object[]
}

/** Members of which each entry allows something by itself, whatever the others say. */
const ALLOWING: Record<string, string> = { Role: 'rules', ClusterRole: 'rules', RoleBinding: 'subjects', ClusterRoleBinding: 'subjects' }

const union = (before: readonly object[] = [], wanted: readonly object[] = []): object[] => [
  ...before,
  ...wanted.filter(entry => !before.some(known => isDeepStrictEqual(known, entry))),
]

/** An object that allows what is allowed now and what will be, for the time in which pods of both versions serve. */
export function widened(wanted: Manifest, live: Live | undefined): Manifest {
  if (!live) return wanted
  if (wanted.kind === 'NetworkPolicy') return { ...wanted, spec: widenedPolicy(wanted.spec as PolicySpec, live.spec) }
  const member = ALLOWING[wanted.kind]
  return member ? { ...wanted, [member]: union((live as unknown as Record<string, object[]>)[member], wanted[member] as object[]) } : wanted
}

function widenedPolicy(wanted: PolicySpec, live: PolicySpec): PolicySpec {
  // Of other pods: neither says anything about the other's. No construct ever changes a selector.
  if (!isDeepStrictEqual(wanted.podSelector, live.podSelector)) return wanted
  const { ingress: _in, egress: _out, ...spec } = wanted
  const rulesOf = (type: 'Ingress' | 'Egress') => {
    const member = type === 'Ingress' ? 'ingress' : 'egress'
    // What a policy does not speak of is free: one rule without a peer keeps it so.
    const before = live.policyTypes?.includes(type) ? live[member] : [{}]
    const rules = wanted.policyTypes?.includes(type) ? union(before, wanted[member]) : []
    return rules.length > 0 ? { [member]: rules } : {}
  }
  return { ...spec, ...rulesOf('Ingress'), ...rulesOf('Egress') }
}

/** Everything, widened by what is there. @returns what is to be applied now, and what narrows it afterwards */
export async function widenAll(cluster: Cluster, wanted: readonly Manifest[]): Promise<{ wide: Manifest[]; narrowing: Manifest[] }> {
  const wide = new Map<Manifest, Manifest>()
  await inParallel(wanted, async manifest => {
    const restricts = manifest.kind === 'NetworkPolicy' || manifest.kind in ALLOWING
    wide.set(manifest, restricts ? widened(manifest, await cluster.read(manifest)) : manifest)
  })
  return {
    wide: wanted.map(manifest => wide.get(manifest) ?? manifest),
    narrowing: wanted.filter(manifest => !isDeepStrictEqual(wide.get(manifest), manifest)),
  }
}
