import { BlockList, isIP } from 'node:net'
import { type Manifest, matches } from '@fairlead/infra/tools'
import type { INetworkPolicyPeer } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPeer'

/** One end of a connection. */
export interface End {
  namespace: string
  labels: Record<string, string>
  /** Only where an address is known can a policy name it. */
  address?: string
}

interface PolicyRule {
  from?: INetworkPolicyPeer[]
  to?: INetworkPolicyPeer[]
  ports?: { port?: number | string; endPort?: number }[]
}

interface PolicySpec {
  podSelector: { matchLabels?: Record<string, string> }
  policyTypes: string[]
  ingress?: PolicyRule[]
  egress?: PolicyRule[]
}

/**
 * Whether policies let one end open a TCP connection to a port of the other: a direction in which some policy selects the pod is closed
 * but for what a rule allows (https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation).
 */
export function allows(policies: readonly Manifest[], from: End, to: End, port: number): boolean {
  const open = (direction: 'Ingress' | 'Egress', self: End, other: End): boolean => {
    const selecting = policies.filter(({ metadata }) => metadata.namespace === self.namespace).map(({ spec }) => spec as PolicySpec)
    const isolating = selecting.filter(
      ({ podSelector, policyTypes }) => policyTypes.includes(direction) && matches(podSelector.matchLabels ?? {}, self.labels),
    )
    if (isolating.length === 0) return true
    return isolating.some(({ ingress = [], egress = [] }) =>
      (direction === 'Ingress' ? ingress : egress).some(({ from: sources, to: targets, ports }) => {
        const peers = direction === 'Ingress' ? sources : targets
        return (!ports || ports.some(allowed => allowed.port === port)) && (!peers || peers.some(peer => isPeer(peer, self.namespace, other)))
      }),
    )
  }
  return open('Egress', from, to) && open('Ingress', to, from)
}

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

function isPeer({ podSelector, namespaceSelector, ipBlock }: INetworkPolicyPeer, own: string, { namespace, labels, address }: End): boolean {
  if (ipBlock) {
    const [network = '', bits] = ipBlock.cidr.split('/')
    const block = new BlockList()
    block.addSubnet(network, Number(bits), familyOf(network))
    return address !== undefined && block.check(address, familyOf(address))
  }
  const inNamespace = namespaceSelector
    ? matches(namespaceSelector.matchLabels ?? {}, { 'kubernetes.io/metadata.name': namespace })
    : namespace === own
  return inNamespace && matches(podSelector?.matchLabels ?? {}, labels)
}
