import type { SystemDefinition } from '@fairlead/chassis'
import type { Owner } from '../constructs/object.ts'
import type { Settings } from '../settings.ts'
import { type ImageName, type ImageSettings, imagesFor, versionOf } from './images.ts'

/** What the parts of the platform are made from. */
export interface PlatformContext {
  system: SystemDefinition
  settings: Settings
}

/** A program of the platform; its version is its image's tag. */
export const platformOwner = (name: string, component: string, image: ImageName, settings: ImageSettings): Owner => ({
  name,
  component,
  partOf: 'platform',
  version: versionOf(image, imagesFor(settings)[image]),
})
