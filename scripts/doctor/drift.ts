import { type Manifest, parseQuantity } from '@fairlead/infra/tools'
import { nameOf } from '../cluster/apply.ts'
import type { Cluster, Live } from '../cluster/cluster.ts'
import { ApiError } from '../cluster/rest.ts'
import type { Cause } from './check.ts'

/** Members that are not compared: the API server keeps `stringData` as `data`. */
const APART = new Set(['stringData', 'status'])

/** What selects: one entry more, and it selects something else. */
const EXACT = /(^|\.)(\w*[sS]elector|matchLabels)$/

/** Where the API server writes `1` for `1000m`. */
const QUANTITY = /\.(limits|requests)\.[^.]+$/
const quantityOf = (value: unknown): number | undefined => {
  try {
    return parseQuantity(String(value))
  } catch {
    return undefined
  }
}

const isMap = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Where somebody may have put a password. */
const HIDDEN = /\.(env\.\d+\.value|args\.\d+)$/

const shown = (value: unknown): string => {
  const text = value === undefined ? 'absent' : JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 80)}...` : text
}

/**
 * The first place where what is there contradicts what is wanted; what the API server has added is none.
 * @returns e.g. `spec.selector is "a", the graph says "b"`
 */
export function contradiction(wanted: unknown, live: unknown, path = ''): string | undefined {
  const added = EXACT.test(path) && isMap(wanted) && isMap(live) ? Object.keys(live).find(key => !(key in wanted)) : undefined
  if (added) return `${path}.${added} is ${shown((live as Record<string, unknown>)[added])}, the graph does not have it`
  if (typeof wanted !== 'object' || wanted === null) {
    if (wanted === live || (QUANTITY.test(path) && quantityOf(wanted) !== undefined && quantityOf(wanted) === quantityOf(live))) return undefined
    return HIDDEN.test(path) ? `${path} is not what the graph says` : `${path} is ${shown(live)}, the graph says ${shown(wanted)}`
  }
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

/** A policy to which a direction was added, for one that is absent allows nothing. */
function opened({ kind, spec }: Manifest, live: Live): string | undefined {
  if (kind !== 'NetworkPolicy') return undefined
  const added = Object.keys(live.spec).find(key => !(key in (spec as object)))
  return added && `spec.${added} is ${shown(live.spec[added])}, the graph does not have it`
}

/** Ways to stop a workload that the graph never says. */
function stopped({ kind, spec }: Live): string | undefined {
  if (spec?.paused === true) return 'spec.paused is true'
  return kind === 'Deployment' && spec?.replicas === 0 ? 'spec.replicas is 0' : undefined
}

/** What keeps one object from being as the graph gives it, or nothing. */
async function driftOf(cluster: Cluster, manifest: Manifest): Promise<Cause | undefined> {
  const object = nameOf(manifest)
  try {
    const live: Live | undefined = await cluster.read(manifest)
    if (!live) return { object, difference: 'not there' }
    const found = contradiction(manifest, live) ?? opened(manifest, live) ?? stopped(live)
    return found === undefined ? undefined : { object, difference: found }
  } catch (error) {
    if (error instanceof ApiError) return { object, difference: `cannot be read: ${error.message}` }
    throw error
  }
}

/** Finds out which of some objects are not as the graph gives them: the likely cause of what does not work. */
export type Drift = (about: (manifest: Manifest) => boolean) => Promise<Cause[]>

export const createDrift =
  (cluster: Cluster, manifests: readonly Manifest[]): Drift =>
  async about =>
    (await Promise.all(manifests.filter(about).map(manifest => driftOf(cluster, manifest)))).filter(found => found !== undefined)
