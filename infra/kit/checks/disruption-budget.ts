import { objectsOf } from './objects.ts'
import type { Check } from './refused.ts'

/** A budget that allows no disruption blocks every drain of a node (https://kubernetes.io/docs/tasks/run-application/configure-pdb). */
export const disruptionBudget: Check = ({ system, objects }) =>
  objectsOf(objects, 'PodDisruptionBudget').flatMap(({ metadata, spec = {} }) => {
    const { min = 1 } = system.services.find(({ name }) => name === metadata.name)?.scale ?? {}
    const blocks = spec.maxUnavailable === 0 || spec.maxUnavailable === '0%' || spec.minAvailable === '100%' || Number(spec.minAvailable ?? -1) >= min
    if (!blocks) return []
    const set = spec.maxUnavailable === undefined ? `minAvailable ${spec.minAvailable}` : `maxUnavailable ${spec.maxUnavailable}`
    return [`PodDisruptionBudget ${metadata.name}: ${set} with scale.min ${min} (services/${metadata.name}/service.ts) blocks every drain of a node`]
  })
