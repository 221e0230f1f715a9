import { ApiObject } from 'cdk8s'
import type { Construct } from 'constructs'
import { keepNewerFields } from './newer-fields.ts'

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

interface Metadata {
  readonly name?: string
  readonly namespace?: string
  readonly labels?: Record<string, string>
  readonly annotations?: Record<string, string>
}

const idOf = (kind: string, { namespace, name }: Metadata) => [kind, namespace, name].filter(Boolean).join('-').toLowerCase()

const owned = <M extends Metadata>(owner: Owner, metadata: M): M => ({ ...metadata, labels: { ...labelsOf(owner), ...metadata.labels } })

/** One object by its class of cdk8s-plus, under its plain name, with its owner's labels. */
export function make<P extends { readonly metadata?: Metadata }, T extends Construct>(
  Kind: new (scope: Construct, id: string, props: P) => T,
  scope: Construct,
  owner: Owner,
  props: P,
): T {
  const { metadata = {} } = props
  const made = new Kind(scope, idOf(Kind.name, metadata), { ...props, metadata: owned(owner, metadata) })
  keepNewerFields(ApiObject.of(made))
  return made
}

interface Manifest {
  apiVersion: string
  kind: string
  metadata?: Metadata
}

/** One object of a vendor's kind, which cdk8s-plus has no class for. */
export function kubeObject<T extends Manifest>(scope: Construct, owner: Owner, manifest: T): ApiObject {
  const { metadata = {}, ...rest } = manifest
  return new ApiObject(scope, idOf(manifest.kind, metadata), { ...rest, metadata: owned(owner, metadata) } as never)
}
