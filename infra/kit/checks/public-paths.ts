import { exposedOperations, overlap, publicPaths } from '../constructs/public-paths.ts'
import type { GraphCheck } from './refused.ts'

/** All services share one host: a path that two of them answer goes to whichever the ingress likes. */
export const publicPathOwners: GraphCheck = ({ system }) => {
  const owners = system.services.flatMap(({ name, contract }) => publicPaths(contract).map(path => ({ name, path })))
  return owners.flatMap((one, index) =>
    owners
      .slice(index + 1)
      .filter(other => other.name !== one.name && overlap(one.path, other.path))
      .map(
        other =>
          `${one.name}'s path ${one.path.path} and ${other.name}'s ${other.path.path} (contract.ts of each) overlap on the one host of the ingress`,
      ),
  )
}

/** What is for workloads or internal must not be reached from outside, whatever its own authentication says. */
export const privateOperations: GraphCheck = ({ system }) =>
  system.services.flatMap(({ name: service, contract }) =>
    exposedOperations(contract).map(({ name, operation: { method, path, auth }, by }) => {
      const kind = auth === 'workload' ? "auth: 'workload'" : 'internal'
      const open = by.type === 'Exact' ? by.path : `everything under ${by.path}`
      return `${service}: ${name} (${method} ${path}, ${kind}) would be reached from outside, for public operations open ${open} (services/${service}/contract.ts): give it a path that none of theirs covers`
    }),
  )
