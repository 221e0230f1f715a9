import { buildImage, describeImage, type ServiceImage, writeSbom } from '../../infra/image/image.ts'
import type { Settings } from '../../infra/settings.ts'
import { type Manifest, synthesize } from '../../infra/synth.ts'
import type { SystemDefinition } from '../../services/chassis/graph.ts'
import { ensureSecrets } from '../secrets.ts'
import type { createSteps } from '../terminal.ts'
import { applyAll } from './apply.ts'
import type { Cluster } from './cluster.ts'
import { ensureCrds } from './crds.ts'
import { withInventory } from './inventory.ts'
import { followRollouts, workloadsOf } from './rollout.ts'

export interface ReleaseOptions {
  system: SystemDefinition
  settings: Settings
  /** Folder of prometheus-operator's CRDs; its release without one. */
  crds: string | undefined
  timeoutMs: number
  signal: AbortSignal
}

type Steps = ReturnType<typeof createSteps>

/** Nothing waits for these: the shop works without them. */
const OPTIONAL = ['grafana']

export const describeImages = (system: SystemDefinition, { IMAGE_REGISTRY, IMAGE_TAG }: Settings): Promise<ServiceImage[]> =>
  Promise.all(system.services.map(({ name }) => describeImage(name, { registry: IMAGE_REGISTRY, tag: IMAGE_TAG })))

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
  { system, settings, crds, timeoutMs, signal }: ReleaseOptions,
): Promise<{ changed: string[]; pruned: string[] }> {
  const references = Object.fromEntries(images.map(({ service, reference }) => [service, reference]))
  const { platform, shop } = synthesize({ system, settings, images: references })
  const manifests: Manifest[] = [...platform, ...shop]
  if (settings.PLATFORM === 'bundled') {
    await steps.step(
      "prometheus-operator's kinds",
      () => ensureCrds(cluster, crds, signal),
      ({ counts }) => summary(counts),
    )
  }
  await steps.step(
    'namespaces and secrets',
    async () => {
      await applyAll(
        cluster,
        manifests.filter(({ kind }) => kind === 'Namespace'),
        { signal },
      )
      return ensureSecrets(cluster, { system, settings })
    },
    said => (said.length === 0 ? 'unchanged' : `${said.length} made`),
  )
  const { result, pruned } = await steps.step(
    `${manifests.length} objects`,
    () => withInventory(cluster, settings.NAMESPACE, manifests, () => applyAll(cluster, manifests, { signal })),
    ({ result: { counts }, pruned: gone }) => `${summary(counts)}${gone.length > 0 ? `, ${gone.length} pruned (${gone.join(', ')})` : ''}`,
  )
  await steps.step('rollouts', () => followRollouts(cluster, workloadsOf(manifests), { timeoutMs, signal, optional: OPTIONAL }))
  return { changed: result.changed, pruned }
}

const summary = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what}`)
    .join(', ') || 'unchanged'
