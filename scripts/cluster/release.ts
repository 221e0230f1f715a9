import { buildImage, type Manifest, type Project, type ServiceImage, type Settings, synthesize, writeSbom } from '@fairlead/infra/tools'
import type { createSteps } from '../terminal.ts'
import { withApiServer } from './api-server.ts'
import { applyAll } from './apply.ts'
import type { Cluster, Reference } from './cluster.ts'
import { type CrdSource, ensureCrds, GATEWAY_API } from './crds.ts'
import { withInventory } from './inventory.ts'
import { withLease } from './lease.ts'
import { awaitReplaced, removeAll } from './leave.ts'
import { ensureNamespaces } from './namespaces.ts'
import { followRollouts, workloadsOf } from './rollout.ts'
import { ensureSecrets } from './secrets.ts'
import { widenAll } from './widen.ts'

export interface ReleaseOptions {
  project: Project
  settings: Settings
  crds: CrdSource
  /** For ROUTE=gateway. @default its release */
  gatewayCrds?: CrdSource
  timeoutMs: number
  signal: AbortSignal
}

type Steps = ReturnType<typeof createSteps>

/** Nothing waits for these: the system works without them. */
const OPTIONAL = ['grafana']

/** Builds what the local docker lacks. @returns how many that were */
export async function buildImages(images: readonly ServiceImage[], signal: AbortSignal): Promise<number> {
  let built = 0
  for (const image of images) {
    if ((await buildImage(image, { signal })) === 'built') built++
    await writeSbom(image)
  }
  return built
}

/** From images to pods that are ready: the steps that every cluster has in common. Each can be repeated. */
export async function release(
  cluster: Cluster,
  images: readonly Pick<ServiceImage, 'service' | 'reference'>[],
  steps: Steps,
  { project, settings: chosen, crds, gatewayCrds = { folder: undefined, release: GATEWAY_API }, timeoutMs, signal: interrupted }: ReleaseOptions,
): Promise<{ changed: string[]; pruned: string[] }> {
  const settings = await withApiServer(cluster, chosen)
  const references = Object.fromEntries(images.map(({ service, reference }) => [service, reference]))
  const { own, platform } = synthesize({ ...project, settings, images: references })
  const manifests: Manifest[] = [...platform, ...own]
  await ensureNamespaces(cluster, manifests)
  return withLease(cluster, settings.NAMESPACE, interrupted, async signal => {
    if (settings.PLATFORM === 'bundled') {
      await steps.step(
        "prometheus-operator's kinds",
        () => ensureCrds(cluster, crds, signal),
        ({ counts }) => summary(counts),
      )
      if (settings.ROUTE === 'gateway')
        await steps.step(
          "Gateway API's kinds",
          () => ensureCrds(cluster, gatewayCrds, signal),
          ({ counts }) => summary(counts),
        )
    }
    await steps.step(
      'secrets',
      () => ensureSecrets(cluster, { ...project, settings }),
      made => (made.length === 0 ? 'unchanged' : `${made.length} made`),
    )
    return rollOut(cluster, manifests, steps, { namespace: settings.NAMESPACE, timeoutMs, signal })
  })
}

/**
 * Replaces what runs by what is wanted, so that pods of both versions can work meanwhile: adds and widens, rolls out, and only then
 * narrows and prunes. Whoever is stopped in between has broken nothing, and the next run goes on.
 */
export async function rollOut(
  cluster: Cluster,
  manifests: readonly Manifest[],
  { step }: Steps,
  { namespace, timeoutMs, signal }: { namespace: string; timeoutMs: number; signal: AbortSignal },
): Promise<{ changed: string[]; pruned: string[] }> {
  const workloads = workloadsOf(manifests)
  const leave = { timeoutMs, signal }
  const apply = async () => {
    const { wide, narrowing } = await widenAll(cluster, manifests)
    const { changed } = await step(
      `${manifests.length} objects`,
      () => applyAll(cluster, wide, { signal }),
      ({ counts }) => summary(counts),
    )
    await step('rollouts', () => followRollouts(cluster, workloads, { timeoutMs, signal, optional: OPTIONAL }))
    if (narrowing.length === 0) return changed
    const narrowed = await step(
      'rules that nothing needs any more',
      async () => {
        await awaitReplaced(cluster, workloads, leave)
        return applyAll(cluster, narrowing, { signal })
      },
      ({ changed: names }) => `taken from ${names.join(', ') || 'nothing'}`,
    )
    return [...new Set([...changed, ...narrowed.changed])]
  }
  const prune = (leaving: readonly Reference[]) =>
    step(
      'objects that nothing needs any more',
      async () => {
        await awaitReplaced(cluster, workloads, leave)
        return removeAll(cluster, leaving, leave)
      },
      pruned => `${pruned.length} pruned (${pruned.join(', ')})`,
    )
  const { result: changed, pruned } = await withInventory(cluster, namespace, manifests, apply, prune)
  return { changed, pruned }
}

const summary = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what}`)
    .join(', ') || 'unchanged'
