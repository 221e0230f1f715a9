import type { ServiceDefinition } from '@fairlead/chassis'
import type { Project } from '../settings/project.ts'
import type { Settings } from '../settings/settings.ts'
import type { Overlay } from './manifest.ts'
import type { Owner } from './object.ts'

/** What every construct derives its objects from. */
export interface Context extends Project {
  settings: Settings
  /** Image reference of each service. */
  images: Record<string, string>
  overlay?: Overlay
}

export const serviceOwner = ({ system, version }: Pick<Context, 'system' | 'version'>, { name }: ServiceDefinition): Owner => ({
  name,
  component: 'service',
  partOf: system.name,
  version,
})

/** Where a service's files are mounted in its pod. */
export const MOUNTS = '/etc/fairlead'

/** The owner of what no single service has. */
export const systemOwner = ({ system, version }: Pick<Context, 'system' | 'version'>): Owner => ({
  name: system.name,
  component: 'system',
  partOf: system.name,
  version,
})
