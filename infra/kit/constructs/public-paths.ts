import type { Contract, Operation } from '@fairlead/chassis'

/** A path that the ingress leads to a service: itself alone, or with all that is under it. */
export interface PublicPath {
  path: string
  type: 'Exact' | 'Prefix'
}

const isOpen = ({ auth, internal }: Operation): boolean => auth !== 'workload' && !internal
const isTemplate = (path: string): boolean => path.includes('{')
const segmentsOf = (path: string): string[] => path.split('/').filter(Boolean)
/** Up to the first element with a parameter: an ingress knows no parameters. */
const fixedPart = (path: string): string => path.replace(/\/[^/]*\{.*$/, '') || '/'

/** Whether a path is the prefix itself or under it, by whole path elements: `/orders` does not cover `/orders-report`. */
const covers = (prefix: string, path: string): boolean => prefix === '/' || `${path}/`.startsWith(`${prefix}/`)

/** The paths of a contract that are open to everybody: operations for workloads and internal ones stay in the cluster. */
export function publicPaths(contract: Contract): PublicPath[] {
  const open = Object.values(contract).filter(isOpen)
  const prefixes = [...new Set(open.filter(({ path }) => isTemplate(path)).map(({ path }) => fixedPart(path)))]
  const exact = [...new Set(open.filter(({ path }) => !isTemplate(path)).map(({ path }) => path))]
  return [
    ...prefixes.filter(path => !prefixes.some(other => other !== path && covers(other, path))).map(path => ({ path, type: 'Prefix' as const })),
    ...exact.filter(path => !prefixes.some(prefix => covers(prefix, path))).map(path => ({ path, type: 'Exact' as const })),
  ].sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** Whether a request can match both. */
export const overlap = (one: PublicPath, other: PublicPath): boolean =>
  one.path === other.path || (one.type === 'Prefix' && covers(one.path, other.path)) || (other.type === 'Prefix' && covers(other.path, one.path))

/**
 * Operations for workloads and internal ones that a public path of the same contract would lead strangers to. An ingress knows no
 * methods either, so one that shares its path with a public operation is among them.
 */
export function exposedOperations(contract: Contract): { name: string; operation: Operation; by: PublicPath }[] {
  const open = Object.values(contract).filter(isOpen)
  const takes = ({ method, path }: Operation, by: PublicPath) => {
    const [template, published] = [segmentsOf(path), segmentsOf(by.path)]
    const fits = published.every((segment, index) => segment === template[index] || isTemplate(template[index] ?? ''))
    if (by.type === 'Prefix') return fits
    // A public operation on just this path is matched before a template.
    return fits && template.length === published.length && !open.some(other => other.method === method && other.path === by.path)
  }
  return Object.entries(contract)
    .filter(([, operation]) => !isOpen(operation))
    .flatMap(([name, operation]) => {
      const by = publicPaths(contract).find(path => takes(operation, path))
      return by ? [{ name, operation, by }] : []
    })
}
