import { publicPaths } from '../constructs/ingress.ts'
import type { Check } from './refused.ts'

/** All services share one host: a path that two of them answer goes to whichever the ingress likes. */
export const publicPathOwners: Check = ({ system }) => {
  const owners = system.services.flatMap(({ name, contract }) => publicPaths(contract).map(path => ({ name, path })))
  return owners.flatMap((one, index) =>
    owners
      .slice(index + 1)
      .filter(other => other.name !== one.name && (`${other.path}/`.startsWith(`${one.path}/`) || `${one.path}/`.startsWith(`${other.path}/`)))
      .map(other => `${one.name}'s path ${one.path} and ${other.name}'s ${other.path} (contract.ts of each) overlap on the one host of the ingress`),
  )
}
