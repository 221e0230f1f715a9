/** A Kubernetes object as it is applied. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> }
  [key: string]: unknown
}

/**
 * A system's own hand at every object: returns it, changed or not, or another in its place. It runs before the checks, so that what it makes is held to
 * them, too; in files, charts and on clusters alike.
 */
export type Overlay = (object: Manifest) => Manifest
