import type { Construct } from 'constructs'
import type { IServiceAccount } from 'kubernetes-models/v1/ServiceAccount'
import { kubeObject, type Owner } from './object.ts'

/** An identity of its own; no pod gets a token for the Kubernetes API by default. */
export function addServiceAccount(scope: Construct, owner: Owner, namespace: string): void {
  kubeObject<IServiceAccount>(scope, owner, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: owner.name, namespace },
    automountServiceAccountToken: false,
  })
}
