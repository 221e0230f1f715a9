import { Namespace } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { defaultDeny } from './network-policies.ts'
import { make, type Owner } from './object.ts'

/** A level of the Pod Security standards (https://kubernetes.io/docs/concepts/security/pod-security-standards). */
export type PodSecurityLevel = 'restricted' | 'baseline' | 'privileged'

/** A namespace that enforces a Pod Security level and in which nothing talks to anything until a policy says so. */
export function addNamespace(scope: Construct, owner: Owner, level: PodSecurityLevel): void {
  make(Namespace, scope, owner, {
    metadata: {
      name: owner.name,
      labels: Object.fromEntries(['enforce', 'audit', 'warn'].map(mode => [`pod-security.kubernetes.io/${mode}`, level])),
    },
  })
  defaultDeny(scope, owner, owner.name)
}
