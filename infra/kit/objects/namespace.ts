import type { Construct } from 'constructs'
import type { INamespace } from 'kubernetes-models/v1/Namespace'
import { defaultDeny } from './network-policies.ts'
import { kubeObject, type Owner } from './object.ts'

/** A level of the Pod Security standards (https://kubernetes.io/docs/concepts/security/pod-security-standards). */
export type PodSecurityLevel = 'restricted' | 'baseline' | 'privileged'

/** A namespace that enforces a Pod Security level and in which nothing talks to anything until a policy says so. */
export function addNamespace(scope: Construct, owner: Owner, level: PodSecurityLevel): void {
  kubeObject<INamespace>(scope, owner, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: owner.name,
      labels: Object.fromEntries(['enforce', 'audit', 'warn'].map(mode => [`pod-security.kubernetes.io/${mode}`, level])),
    },
  })
  defaultDeny(scope, owner, owner.name)
}
