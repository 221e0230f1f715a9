import type { ServiceDefinition } from '@fairlead/chassis'
import type { GraphCheck } from './refused.ts'

/** Services that need each other cannot be started, scaled or mended one after the other, and their timeouts cannot nest. */
export const cycle: GraphCheck = ({ system }) => {
  const found = new Set<string>()
  const visit = (service: ServiceDefinition, path: readonly string[]) => {
    const start = path.indexOf(service.name)
    if (start >= 0) {
      const members = path.slice(start)
      // The same ring is met once from each of its members.
      const first = members.indexOf([...members].sort()[0] ?? '')
      const ring = [...members.slice(first), ...members.slice(0, first)]
      found.add([...ring, ring[0]].join(' -> '))
    } else for (const { to } of service.calls) visit(to, [...path, service.name])
  }
  for (const service of system.services) visit(service, [])
  return [...found].map(ring => `a cycle of calls: ${ring} (calls in their service.ts)`)
}
