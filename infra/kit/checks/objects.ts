import type { IContainer } from 'kubernetes-models/v1/Container'
import type { IPodSpec } from 'kubernetes-models/v1/PodSpec'
import type { Manifest } from '../objects/manifest.ts'

/** An object whose spec the rules read without knowing its kind. */
// biome-ignore lint/suspicious/noExplicitAny: rules read a few fields of many kinds
type Loose = Manifest & { spec?: any }

export const objectsOf = (objects: readonly Manifest[], kind: string): Loose[] => objects.filter(object => object.kind === kind) as Loose[]

export const matches = (selector: Record<string, string>, labels: Record<string, string> = {}): boolean =>
  Object.entries(selector).every(([key, value]) => labels[key] === value)

export interface Pods {
  /** Kind and name, for messages. */
  where: string
  name: string
  spec: IPodSpec
  /** Init containers too. */
  containers: readonly IContainer[]
}

/** The pod template of every workload. */
export const podSpecs = (objects: readonly Manifest[]): Pods[] =>
  ['Deployment', 'StatefulSet', 'DaemonSet', 'Job'].flatMap(kind =>
    objectsOf(objects, kind).map(({ metadata, spec }) => {
      const pod: IPodSpec = spec.template.spec
      return {
        where: `${kind} ${metadata.name}`,
        name: metadata.name,
        spec: pod,
        containers: [...(pod.initContainers ?? []), ...(pod.containers ?? [])],
      }
    }),
  )
