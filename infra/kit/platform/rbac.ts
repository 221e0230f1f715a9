import { isIP } from 'node:net'
import type { Construct } from 'constructs'
import type { IClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole'
import type { IClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding'
import type { IRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/Role'
import type { IRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding'
import { addresses, type Rule } from '../objects/network-policies.ts'
import { kubeObject, type Owner } from '../objects/object.ts'
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
  { namespace, account, rules }: { namespace: string; account: string; rules: IRole['rules'] },
): void {
  const metadata = { name: owner.name, namespace }
  kubeObject<IRole>(scope, owner, { apiVersion: `${GROUP}/v1`, kind: 'Role', metadata, rules })
  kubeObject<IRoleBinding>(scope, owner, {
    apiVersion: `${GROUP}/v1`,
    kind: 'RoleBinding',
    metadata,
    roleRef: { apiGroup: GROUP, kind: 'Role', name: owner.name },
    subjects: [{ kind: 'ServiceAccount', name: owner.name, namespace: account }],
  })
}

/** What it may do in the whole cluster. */
export function bindClusterRole(scope: Construct, owner: Owner, { account, rules }: { account: string; rules: IClusterRole['rules'] }): void {
  const metadata = { name: `${owner.partOf}-${owner.name}` }
  kubeObject<IClusterRole>(scope, owner, { apiVersion: `${GROUP}/v1`, kind: 'ClusterRole', metadata, rules })
  kubeObject<IClusterRoleBinding>(scope, owner, {
    apiVersion: `${GROUP}/v1`,
    kind: 'ClusterRoleBinding',
    metadata,
    roleRef: { apiGroup: GROUP, kind: 'ClusterRole', name: metadata.name },
    subjects: [{ kind: 'ServiceAccount', name: owner.name, namespace: account }],
  })
}
