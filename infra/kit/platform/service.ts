import type { Construct } from 'constructs'
import type { IService } from 'kubernetes-models/v1/Service'
import { kubeObject, type Owner, selectorOf } from '../objects/object.ts'

/** A program under its own name, by the label that the operator's pods have as well: each port by its name, to the container's port of that name. */
export function addService(
  scope: Construct,
  owner: Owner,
  namespace: string,
  ports: Record<string, number>,
  annotations?: Record<string, string>,
): void {
  kubeObject<IService>(scope, owner, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: owner.name, namespace, ...(annotations && { annotations }) },
    spec: { selector: selectorOf(owner), ports: Object.entries(ports).map(([name, port]) => ({ name, port, targetPort: name })) },
  })
}
