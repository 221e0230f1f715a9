import { isIP } from 'node:net'
import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { addresses, type Rule } from '../objects/network-policies.ts'
import { make, type Owner } from '../objects/object.ts'
import type { Settings } from '../settings/settings.ts'

const GROUP = 'rbac.authorization.k8s.io'

/** The API server, whose address no selector knows: in front of it, and its own port behind that; anywhere, where nobody says which those are. */
export const apiServer = ({ API_SERVER }: Settings): Rule[] =>
  API_SERVER.length > 0
    ? API_SERVER.map(({ address, port }) => ({ peer: addresses(`${address}/${isIP(address) === 4 ? 32 : 128}`), ports: [port] }))
    : [{ ports: [443, 6_443] }]

/** What an owner's ServiceAccount, in the namespace `account`, may do in one namespace. */
export function bindRole(
  scope: Construct,
  owner: Owner,
  { namespace, account, rules }: { namespace: string; account: string; rules: k8s.PolicyRule[] },
): void {
  const metadata = { name: owner.name, namespace }
  make(k8s.KubeRole, scope, owner, { metadata, rules })
  make(k8s.KubeRoleBinding, scope, owner, {
    metadata,
    roleRef: { apiGroup: GROUP, kind: 'Role', name: owner.name },
    subjects: [{ kind: 'ServiceAccount', name: owner.name, namespace: account }],
  })
}

/** What it may do in the whole cluster. */
export function bindClusterRole(scope: Construct, owner: Owner, { account, rules }: { account: string; rules: k8s.PolicyRule[] }): void {
  const metadata = { name: `${owner.partOf}-${owner.name}` }
  make(k8s.KubeClusterRole, scope, owner, { metadata, rules })
  make(k8s.KubeClusterRoleBinding, scope, owner, {
    metadata,
    roleRef: { apiGroup: GROUP, kind: 'ClusterRole', name: metadata.name },
    subjects: [{ kind: 'ServiceAccount', name: owner.name, namespace: account }],
  })
}
