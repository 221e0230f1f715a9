import type { Manifest } from '../../infra/synth.ts'
import { nameOf } from '../cluster/apply.ts'
import type { Cluster, Live } from '../cluster/cluster.ts'
import { ApiError } from '../cluster/rest.ts'

/** Members that are not compared: the API server keeps `stringData` as `data`. */
const APART = new Set(['stringData', 'status'])

const shown = (value: unknown): string => {
  const text = value === undefined ? 'absent' : JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 80)}...` : text
}

/**
 * The first place where what is there contradicts what is wanted; what the API server has added is none.
 * @returns e.g. `spec.selector is "a", the graph says "b"`
 */
export function contradiction(wanted: unknown, live: unknown, path = ''): string | undefined {
  if (typeof wanted !== 'object' || wanted === null) return wanted === live ? undefined : `${path} is ${shown(live)}, the graph says ${shown(wanted)}`
  // The API server leaves out a list that is empty.
  if (Array.isArray(wanted) && wanted.length === 0 && live === undefined) return undefined
  if (typeof live !== 'object' || live === null || Array.isArray(wanted) !== Array.isArray(live))
    return `${path} is ${shown(live)}, the graph says ${shown(wanted)}`
  if (Array.isArray(wanted) && wanted.length !== (live as unknown[]).length)
    return `${path} has ${(live as unknown[]).length} entries, the graph says ${wanted.length}`
  for (const [key, value] of Object.entries(wanted)) {
    if (path === '' && APART.has(key)) continue
    const found = contradiction(value, (live as Record<string, unknown>)[key], path ? `${path}.${key}` : key)
    if (found) return found
  }
  return undefined
}

/** What keeps one object from being as the graph gives it, or nothing. */
async function driftOf(cluster: Cluster, manifest: Manifest): Promise<string | undefined> {
  try {
    const live: Live | undefined = await cluster.read(manifest)
    if (!live) return `${nameOf(manifest)} is not there`
    const found = contradiction(manifest, live)
    return found && `${nameOf(manifest)}: ${found}`
  } catch (error) {
    if (error instanceof ApiError) return `${nameOf(manifest)} cannot be read: ${error.message}`
    throw error
  }
}

/** Finds out which of some objects are not as the graph gives them: the likely cause of what does not work. */
export type Drift = (about: (manifest: Manifest) => boolean) => Promise<string[]>

export const createDrift =
  (cluster: Cluster, manifests: readonly Manifest[]): Drift =>
  async about =>
    (await Promise.all(manifests.filter(about).map(manifest => driftOf(cluster, manifest)))).filter(found => found !== undefined)
