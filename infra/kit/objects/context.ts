import type { ServiceDefinition, SystemDefinition } from '@fairlead/chassis'
import type { Project } from '../settings/project.ts'
import type { Settings } from '../settings/settings.ts'
import type { Overlay } from './manifest.ts'
import type { Owner } from './object.ts'

/** What every construct is made from. */
export interface SystemProps {
  /** The graph that its objects are derived from. */
  readonly system: SystemDefinition
  /** A label of every object. */
  readonly version: string
  /** What differs between clusters, as `loadSettings` reads it. */
  readonly settings: Settings
}

/** The same for one service. */
export interface ServiceProps extends SystemProps {
  /** One of the system. */
  readonly service: ServiceDefinition
}

/** What the charts of a system are made from. */
export interface Context extends Project {
  settings: Settings
  /** Image reference of each service. */
  images: Record<string, string>
  overlay?: Overlay
}

export const serviceOwner = ({ system, version, service }: Omit<ServiceProps, 'settings'>): Owner => ({
  name: service.name,
  component: 'service',
  partOf: system.name,
  version,
})

/** Where a service's files are mounted in its pod. */
export const MOUNTS = '/etc/fairlead'

/** The owner of what no single service has. */
export const systemOwner = ({ system, version }: Omit<SystemProps, 'settings'>): Owner => ({
  name: system.name,
  component: 'system',
  partOf: system.name,
  version,
})
