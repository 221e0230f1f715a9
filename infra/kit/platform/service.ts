import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { make, type Owner, selectorOf } from '../objects/object.ts'

/** A program under its own name, by the label that the operator's pods have as well: each port by its name, to the container's port of that name. */
export function addService(
  scope: Construct,
  owner: Owner,
  namespace: string,
  ports: Record<string, number>,
  annotations?: Record<string, string>,
): void {
  make(k8s.KubeService, scope, owner, {
    metadata: { name: owner.name, namespace, ...(annotations && { annotations }) },
    spec: {
      selector: selectorOf(owner),
      ports: Object.entries(ports).map(([name, port]) => ({ name, port, targetPort: k8s.IntOrString.fromString(name) })),
    },
  })
}
