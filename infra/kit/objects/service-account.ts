import { ServiceAccount } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { make, type Owner } from './object.ts'

/** An identity of its own; no pod gets a token for the Kubernetes API by default. */
export const addServiceAccount = (scope: Construct, owner: Owner, namespace: string): ServiceAccount =>
  make(ServiceAccount, scope, owner, { metadata: { name: owner.name, namespace }, automountToken: false })
