import type { k8s } from 'cdk8s-plus-27'
import { listOf, parseCidr, parseLabel } from './fields.ts'
import { formats, isOf } from './formats.ts'

/** Who is at the other end of a rule. With a name of our own: declarations would name the generated type by a path that its package does not export. */
export interface Peer extends k8s.NetworkPolicyPeer {}

/** Somebody on the network: an address range, or pods of one label, as `10.0.0.0/8` or `app=webhook@alerts`. */
function parsePeer(text: string): Peer {
  const at = text.lastIndexOf('@')
  if (at < 0 && text.includes('/') && !text.includes('=')) return { ipBlock: { cidr: parseCidr(text) } }
  if (at < 0) throw new Error(`${text} is neither an address range such as 10.0.0.0/8 nor a label of pods such as app=webhook@namespace`)
  const [label, namespace] = [text.slice(0, at), text.slice(at + 1)]
  if (!isOf(formats.namespace, namespace)) throw new Error(`${namespace} is not ${formats.namespace.takes}`)
  return podsWith(namespace, Object.fromEntries([parseLabel(label)]))
}

const podsWith = (namespace: string, matchLabels: Record<string, string>): Peer => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
  podSelector: { matchLabels },
})

/** A peer and the TCP port at which it listens. */
export interface Target {
  peer: Peer
  port: number
}

function parseTarget(text: string): Target {
  const [, peer = '', port] = /^(.+):(\d{1,5})$/.exec(text) ?? []
  if (!(Number(port) > 0 && Number(port) < 65_536)) throw new Error(`${text} ends with no port`)
  return { peer: parsePeer(peer), port: Number(port) }
}

const PEERS = 'address ranges or labels of pods, e.g. 10.0.0.0/8 or app=webhook@namespace'

export const targets = (what: string) => listOf(parseTarget, `${what}, as ${PEERS}, each with :PORT`)

/** Those who answer DNS, by the names of known arrangements. An address that is on every node is no pod's, so no selector finds it. */
const RESOLVERS: Record<string, Peer[]> = {
  'kube-dns': [podsWith('kube-system', { 'k8s-app': 'kube-dns' })],
  /** https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns */
  nodelocal: [{ ipBlock: { cidr: '169.254.20.10/32' } }],
  /** https://cloud.google.com/kubernetes-engine/docs/how-to/cloud-dns */
  'gke-cloud-dns': [{ ipBlock: { cidr: '169.254.169.254/32' } }],
  /** A service of each node answers, at an address that is not documented: port 53 of any. */
  'eks-auto': [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }],
}

export const resolvers = () =>
  listOf(text => RESOLVERS[text] ?? [presetOrPeer(text)], '')
    .transform(found => found.flat())
    .prefault('kube-dns')
    .describe(`those who answer DNS: ${Object.keys(RESOLVERS).join(', ')}, ${PEERS}; separated by commas`)

function presetOrPeer(text: string): Peer {
  if (/^[a-z-]+$/.test(text)) throw new Error(`${text} is none of ${Object.keys(RESOLVERS).join(', ')}`)
  return parsePeer(text)
}
