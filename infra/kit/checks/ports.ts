import { podSpecs } from './objects.ts'
import type { Check } from './refused.ts'

/** Containers of a pod share its ports: the second one to listen dies. Native sidecars count, init containers that end do not. */
export const ports: Check = ({ objects }) =>
  podSpecs(objects).flatMap(({ where, spec }) => {
    const owners = new Map<string, string>()
    const running = [...(spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'), ...(spec.containers ?? [])]
    return running.flatMap(({ name, ports: own = [] }) =>
      own.flatMap(({ containerPort, protocol = 'TCP' }) => {
        const key = `${containerPort}/${protocol}`
        const other = owners.get(key)
        owners.set(key, name)
        return other === undefined ? [] : [`${where}: ${name} and ${other} both listen on port ${key} (port in service.ts, or their constructs)`]
      }),
    )
  })
