import { DefinitionError, type Journey, type SystemDefinition } from '@fairlead/chassis'
import type { Overlay } from './objects/manifest.ts'
import { type Project, readRepository } from './settings/project.ts'
import { runSynth } from './synth/run-synth.ts'

export interface AppOptions<S extends SystemDefinition> {
  system: S
  /** Folder of the repository: the one with its package.json, whose version and license the kit takes. */
  root: string | URL
  /** What a client of the system does. */
  journey?: Journey
  /** @default every object stays as it is made */
  overlay?: Overlay
}

/** What every command loads: a system, where it lives, and what a client does with it. */
export interface App<S extends SystemDefinition = SystemDefinition> extends Project {
  system: S
  journey?: Journey
  overlay?: Overlay
  /** What `npm run synth` and `cdk8s synth` run: reads this process' flags, writes the manifests, and sets the exit code. */
  synth(env: Record<string, string | undefined>): Promise<void>
}

/**
 * @throws ProjectError when the root has no package.json with a version
 * @throws DefinitionError naming a step of the journey that calls a service outside the system
 */
export function defineApp<const S extends SystemDefinition>({ system, root, journey, overlay }: AppOptions<S>): App<S> {
  if (journey) refuseStrangers(system, journey)
  const project = { system, ...readRepository(root), ...(overlay && { overlay }) }
  return { ...project, ...(journey !== undefined && { journey }), synth: env => runSynth(project, env) }
}

function refuseStrangers({ services }: SystemDefinition, { steps }: Journey): void {
  const names = new Set(services.map(({ name }) => name))
  for (const [index, { service, name }] of steps.entries())
    if (!names.has(service.name))
      throw new DefinitionError(
        `step ${index + 1} of the journey (${service.name}.${name}): ${service.name} is not in the system; add it to services in infra/system.ts`,
      )
}
