import { type ImageName, type ImageSettings, imagesFor, versionOf } from '../settings/images.ts'
import type { Context } from './context.ts'
import type { Owner } from './object.ts'

/** What the parts of the platform are made from. */
export type PlatformContext = Omit<Context, 'images'>

/** A program of the platform; its version is its image's tag. */
export const platformOwner = (name: string, component: string, image: ImageName, settings: ImageSettings): Owner => ({
  name,
  component,
  partOf: 'platform',
  version: versionOf(image, imagesFor(settings)[image]),
})
