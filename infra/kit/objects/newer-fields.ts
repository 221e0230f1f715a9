import { DefinitionError } from '@fairlead/chassis'
import { ApiObject } from 'cdk8s'
import type { k8s } from 'cdk8s-plus-27'

/**
 * Fields of ours that the classes of cdk8s-plus-27 drop without a word, even if `addJsonPatch` adds them, by the version of Kubernetes that brought
 * them. They write what 1.27 had, and of a claim template not even its kind.
 */
const RESTORED: Record<string, string> = {
  'spec.template.spec.initContainers.restartPolicy': '1.28',
  'spec.template.spec.containers.lifecycle.preStop.sleep': '1.29',
  'spec.volumeClaimTemplates.apiVersion': '1.9',
  'spec.volumeClaimTemplates.kind': '1.9',
}

/** The kubelet starts it before, and stops it after, the containers that need it: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers */
export const nativeSidecar = (container: k8s.Container): k8s.Container => ({ ...container, restartPolicy: 'Always' }) as k8s.Container

/** What a container does first when its pod leaves, without a program in its image: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks */
export const sleepBeforeStop = (seconds: number): k8s.Lifecycle => ({ preStop: { sleep: { seconds } } as k8s.LifecycleHandler })

/**
 * Lets an object keep its newer fields.
 * @throws DefinitionError when it is written, if its class drops a field that this file does not restore, e.g. one that a patch adds in the API's
 *   spelling (clusterIP) where the class has its own (clusterIp)
 */
export function keepNewerFields(object: ApiObject): void {
  const write = object.toJson.bind(object)
  object.toJson = () => restored(ApiObject.prototype.toJson.call(object), write(), [object.kind, object.name])
}

type Fields = Record<string, unknown>
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null

/** What was given, as the class wrote it: under the API's names, with a text or number in place of a Quantity. */
function restored(given: unknown, written: unknown, path: readonly string[]): unknown {
  if (written === undefined) {
    const field = path.slice(2).join('.')
    if (field in RESTORED) return given
    throw new DefinitionError(
      `${path[0]} ${path[1]}: cdk8s-plus-27 drops ${field}: newer than Kubernetes 1.27, not in its spelling, or a text where it takes an object; set it in the app's overlay`,
    )
  }
  if (Array.isArray(given)) return given.map((item, index) => restored(item, (written as unknown[])[index], path))
  if (!isObject(given) || !isObject(written)) return written
  const names = new Map<string, string>()
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const key = name in written ? name : (Object.keys(written).find(other => other.toLowerCase() === name.toLowerCase()) ?? name)
      const other = names.get(key)
      if (other !== undefined) throw saidTwice(path, [other, name], key)
      names.set(key, name)
      return [key, restored(value, written[key], [...path, key])]
    }),
  )
}

/** The class reads its own spelling alone. */
function saidTwice([kind, name, ...path]: readonly string[], names: readonly string[], key: string): DefinitionError {
  const [fields, own] = [names.map(field => [...path, field].join('.')), names.find(field => field !== key)]
  return new DefinitionError(`${kind} ${name} has ${fields.join(' and ')}, which are one field: a patch has to say ${own}, as cdk8s-plus-27 does`)
}
