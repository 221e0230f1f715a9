import { CLOSE_MS, FINISH_MS, LINGER_MS } from '@fairlead/chassis'
import { podSpecs } from './objects.ts'
import type { Check } from './refused.ts'

/** The kubelet counts preStop into the grace period and then kills (https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks). */
export const gracePeriod: Check = ({ system, objects }) =>
  podSpecs(objects).flatMap(({ where, name, spec }) => {
    if (!system.services.some(service => service.name === name)) return []
    const graceMs = (spec.terminationGracePeriodSeconds ?? 30) * 1_000
    const preStopMs = Math.max(0, ...(spec.containers ?? []).map(({ lifecycle }) => (lifecycle?.preStop?.sleep?.seconds ?? 0) * 1_000))
    const drainMs = LINGER_MS + FINISH_MS + CLOSE_MS
    if (preStopMs + drainMs <= graceMs) return []
    return [
      `${where}: preStop ${preStopMs} ms + drain ${drainMs} ms exceed terminationGracePeriodSeconds ${graceMs / 1_000}: pods would be killed with requests in flight`,
    ]
  })
