import { parseQuantity } from '../objects/quantity.ts'
import { podSpecs } from './objects.ts'
import type { Check } from './refused.ts'

/** The API server refuses such a pod, long after synth. */
export const limits: Check = ({ objects }) =>
  podSpecs(objects).flatMap(({ where, containers }) =>
    containers.flatMap(({ name, resources: { requests = {}, limits: caps = {} } = {} }) =>
      Object.entries(requests).flatMap(([resource, request]) => {
        const limit = caps[resource]
        if (limit === undefined || parseQuantity(String(limit)) >= parseQuantity(String(request))) return []
        return [`${where}, container ${name}: ${resource} limit ${limit} is below its request ${request} (resources of its service.ts or construct)`]
      }),
    ),
  )
