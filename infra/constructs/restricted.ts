import type { IPodSecurityContext } from 'kubernetes-models/v1/PodSecurityContext'
import type { ISecurityContext } from 'kubernetes-models/v1/SecurityContext'

/** User and group of every process of ours: above the ids that hosts hand out. */
export const UID = 10_001

/** What Pod Security `restricted` asks of a pod (https://kubernetes.io/docs/concepts/security/pod-security-standards). */
export const podSecurity = (uid = UID): IPodSecurityContext => ({
  runAsNonRoot: true,
  runAsUser: uid,
  runAsGroup: uid,
  fsGroup: uid,
  fsGroupChangePolicy: 'OnRootMismatch',
  seccompProfile: { type: 'RuntimeDefault' },
})

/** The same of a container, and a root file system that nobody writes. */
export const containerSecurity = (): ISecurityContext => ({
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  privileged: false,
  capabilities: { drop: ['ALL'] },
})

/** Requests and limits, both of every kind, since a pod without one of them is evicted first or starves its neighbours. */
export const resources = (request: { cpu: string; memory: string }, limit: { cpu: string; memory: string }, storage = '64Mi') => ({
  requests: { ...request, 'ephemeral-storage': storage },
  limits: { ...limit, 'ephemeral-storage': storage },
})

/** Pinned images are not pulled anew for each pod: a tag of ours is the digest of its content, and a kind node has no registry to ask. */
export const pinnedImages = { 'kube-score/ignore': 'container-image-pull-policy' }
