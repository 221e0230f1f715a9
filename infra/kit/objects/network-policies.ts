import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import type { Settings } from '../settings/settings.ts'
import { make, type Owner, selectorOf } from './object.ts'

/** Traffic between an owner's pods and a peer, on ports of whoever is called. No peer: anybody. */
export interface Rule {
  peer?: k8s.NetworkPolicyPeer
  ports: readonly number[]
  /** @default TCP alone */
  protocols?: readonly ('TCP' | 'UDP')[]
}

/** Pods of one name: in the policy's own namespace, or in another. */
export const podsOf = (name: string, namespace?: string): k8s.NetworkPolicyPeer => ({
  ...(namespace && { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } }),
  podSelector: { matchLabels: selectorOf({ name }) },
})

/** Every pod of a namespace. */
export const allPodsIn = (namespace: string): k8s.NetworkPolicyPeer => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
})

/** Addresses behind no selector, such as the API server's. */
export const addresses = (cidr: string): k8s.NetworkPolicyPeer => ({ ipBlock: { cidr } })

const dns = ({ DNS }: Pick<Settings, 'DNS'>) => ({ to: DNS, ports: [...portsOf([DNS_PORT], 'UDP'), ...portsOf([DNS_PORT])] })

export const DNS_PORT = 53

const portsOf = (ports: readonly number[], protocol = 'TCP') => ports.map(port => ({ port: k8s.IntOrString.fromNumber(port), protocol }))

const portsIn = ({ ports, protocols = ['TCP'] }: Rule) => protocols.flatMap(protocol => portsOf(ports, protocol))

/** What an owner's pods may do on the network: these rules and DNS, nothing else. */
export function addNetworkPolicy(
  scope: Construct,
  settings: Pick<Settings, 'DNS'>,
  owner: Owner,
  namespace: string,
  { ingress, egress, annotations }: { ingress: readonly Rule[]; egress: readonly Rule[]; annotations?: Record<string, string> },
): k8s.KubeNetworkPolicy {
  return make(k8s.KubeNetworkPolicy, scope, owner, {
    metadata: { name: owner.name, namespace, ...(annotations && { annotations }) },
    spec: {
      podSelector: { matchLabels: selectorOf(owner) },
      policyTypes: ['Ingress', 'Egress'],
      // Left out when there is none: the API server drops an empty list, and each apply would seem to change it.
      ...(ingress.length > 0 && { ingress: ingress.map(rule => ({ ...(rule.peer && { from: [rule.peer] }), ports: portsIn(rule) })) }),
      egress: [dns(settings), ...egress.map(rule => ({ ...(rule.peer && { to: [rule.peer] }), ports: portsIn(rule) }))],
    },
  })
}

/** Nothing goes in or out of a namespace's pods but what another policy allows. */
export function defaultDeny(scope: Construct, owner: Owner, namespace: string): void {
  make(k8s.KubeNetworkPolicy, scope, owner, {
    metadata: { name: 'default-deny', namespace },
    spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  })
}
