import type { ServiceDefinition, SystemDefinition } from '@fairlead/chassis'
import { projectIn } from '../project.ts'
import type { Settings } from '../settings.ts'
import type { Owner } from './object.ts'

/** What every construct derives its objects from. */
export interface Context {
  system: SystemDefinition
  settings: Settings
  /** Image reference of each service. */
  images: Record<string, string>
}

export const serviceOwner = ({ system }: Pick<Context, 'system'>, { name }: ServiceDefinition): Owner => ({
  name,
  component: 'service',
  partOf: system.name,
  version: projectIn().version,
})

/** Where a service's files are mounted in its pod. */
export const MOUNTS = '/etc/fairlead'

/** The owner of what no single service has. */
export const systemOwner = ({ system }: Pick<Context, 'system'>): Owner => ({
  name: system.name,
  component: 'system',
  partOf: system.name,
  version: projectIn().version,
})
