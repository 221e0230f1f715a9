import { portOf, type ServiceDefinition, type SystemDefinition } from './graph.ts'
import { keysCalleeOf } from './users.ts'

type Members = Pick<SystemDefinition, 'users'>

/** The services that one connects to: those of its edges, and the one whose keys it fetches. */
export const calleesOf = (system: Members, service: ServiceDefinition): ServiceDefinition[] => {
  const keys = keysCalleeOf(system, service)
  return [...new Set([...service.calls.map(({ to }) => to), ...(keys ? [keys] : [])])]
}

/** The ports of a callee that a caller connects to: each edge's, by its protocol, and that of HTTP where it fetches keys. */
export const portsBetween = (system: Members, caller: ServiceDefinition, callee: ServiceDefinition): number[] => {
  const edges = caller.calls.filter(({ to }) => to === callee).map(portOf)
  return [...new Set(keysCalleeOf(system, caller) === callee ? [...edges, callee.port] : edges)]
}
