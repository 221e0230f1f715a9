import type { k8s } from 'cdk8s-plus-27'
import { quantity } from './quantity.ts'

/** User and group of every process of ours: above the ids that hosts hand out. */
export const UID = 10_001

/** What Pod Security `restricted` asks of a pod (https://kubernetes.io/docs/concepts/security/pod-security-standards). */
export const podSecurity = (uid = UID) => ({
  runAsNonRoot: true,
  runAsUser: uid,
  runAsGroup: uid,
  fsGroup: uid,
  fsGroupChangePolicy: 'OnRootMismatch' as const,
  seccompProfile: { type: 'RuntimeDefault' as const },
})

/** The same of a container, and a root file system that nobody writes. */
export const containerSecurity = (): k8s.SecurityContext => ({
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  privileged: false,
  capabilities: { drop: ['ALL'] },
})

/**
 * What the kubelet keeps of a container's log unless it is told otherwise: it rotates a file that it finds above 10 MiB, when it looks
 * (https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1: containerLogMaxSize, containerLogMaxFiles, containerLogMonitorInterval).
 */
const LOG = { files: 5, maxMib: 10, lookSeconds: 10 }
/** 2,000 lines a second of 500 bytes. */
const FASTEST_LOG_MIB_PER_SECOND = 1
/** Room for all of them as they grow until the next look, and for one that is being compressed: a pod that exceeds its limit is evicted. */
const LOG_ROOM_MIB = (LOG.files + 1) * (LOG.maxMib + LOG.lookSeconds * FASTEST_LOG_MIB_PER_SECOND)

const LOGS = { usual: '64Mi', most: `${LOG_ROOM_MIB}Mi` }

type Amount = Readonly<{ cpu: string; memory: string }>

/** Requests and limits, both of every kind, since a pod without one of them is evicted first or starves its neighbours. */
export const amounts = (request: Amount, limit: Amount, storage = LOGS) => ({
  requests: { ...request, 'ephemeral-storage': storage.usual },
  limits: { ...limit, 'ephemeral-storage': storage.most },
})

/** The same for a container. */
export function resources(request: Amount, limit: Amount): k8s.ResourceRequirements {
  const { requests, limits } = amounts(request, limit)
  return { requests: quantities(requests), limits: quantities(limits) }
}

const quantities = (texts: Record<string, string>) => Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, quantity(text)]))

/** Pinned images are not pulled anew for each pod: a tag of ours is the digest of its content, and a kind node has no registry to ask. */
export const pinnedImages = { 'kube-score/ignore': 'container-image-pull-policy' }
