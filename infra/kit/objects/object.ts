import { ApiObject } from 'cdk8s'
import type { Construct } from 'constructs'

/** Who an object belongs to, as `app.kubernetes.io/*` labels. */
export interface Owner {
  /** Program, e.g. `booking` or `prometheus`; unique in its namespace. */
  name: string
  /** Its part in the architecture, e.g. `service`, `database`. */
  component: string
  /** The system that it is part of. */
  partOf: string
  version: string
}

/** The one label that says what a pod may do on the network, and what its Services are scraped as: it never changes. */
export const selectorOf = ({ name }: Pick<Owner, 'name'>) => ({ 'app.kubernetes.io/name': name })

/** The labels that make a pod one of an owner's own: whoever only tries its policies has the first of them alone. */
export const ownPods = ({ name, partOf }: Pick<Owner, 'name' | 'partOf'>) => ({
  ...selectorOf({ name }),
  'app.kubernetes.io/instance': `${partOf}-${name}`,
})

export const labelsOf = (owner: Owner) => ({
  ...ownPods(owner),
  'app.kubernetes.io/component': owner.component,
  'app.kubernetes.io/part-of': owner.partOf,
  'app.kubernetes.io/version': owner.version,
  'app.kubernetes.io/managed-by': 'fairlead',
})

interface Manifest {
  apiVersion: string
  kind: string
  metadata?: { name?: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> }
}

/**
 * One Kubernetes object under its plain name, with its owner's labels. The types are those of Kubernetes 1.34: cdk8s-plus has older
 * ones and drops the fields that it does not know.
 */
export function kubeObject<T extends Manifest>(scope: Construct, owner: Owner, manifest: T): ApiObject {
  const { metadata = {}, ...rest } = manifest
  const id = [manifest.kind, metadata.namespace, metadata.name].filter(Boolean).join('-').toLowerCase()
  return new ApiObject(scope, id, { ...rest, metadata: { ...metadata, labels: { ...labelsOf(owner), ...metadata.labels } } } as never)
}
