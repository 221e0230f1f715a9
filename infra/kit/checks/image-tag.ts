import { type ImageName, imagesFor, MOVING, partsOf, pinned } from '../settings/images.ts'
import { podSpecs } from './objects.ts'
import type { Check } from './refused.ts'

const PIN = 'pin one (IMAGE_TAG for services, IMAGES for others)'

/** Nobody can tell what `latest` ran, roll back to it, or see that it changed. */
export const imageTag: Check = ({ objects }) =>
  podSpecs(objects).flatMap(({ where, containers }) =>
    containers.flatMap(({ name, image = '' }) => {
      if (isNamed(image)) return []
      return [`${where}, container ${name}: image '${image}' has the tag ${tagOf(image)}; ${PIN}`]
    }),
  )

/** A tag that names no version, e.g. `17` or `nonroot`, is another image tomorrow, and two nodes run two of them. Ours are digests. */
export const movingTag: Check = ({ objects, settings, images }) => {
  const chosen = imagesFor(settings)
  // The reason for a pinned one holds for it wherever it comes from.
  const isAllowed = (name: ImageName) => name in MOVING && chosen[name].endsWith(pinned[name])
  const known = Object.entries(chosen)
    .filter(([name, reference]) => isMoving(reference) && !isAllowed(name as ImageName))
    .map(([name, reference]) => `image '${reference}' of ${name}${says(reference)}`)
  const ours = new Set([...Object.values(images), ...Object.values(chosen)])
  const others = podSpecs(objects).flatMap(({ where, containers }) =>
    containers
      .filter(({ image = '' }) => !ours.has(image) && isNamed(image) && isMoving(image))
      .map(({ name, image = '' }) => `${where}, container ${name}: image '${image}'${says(image)}`),
  )
  return [...known, ...others]
}

const isMoving = (reference: string): boolean => {
  const { tag = '', digest } = partsOf(reference)
  return !digest && !/\d\.\d/.test(tag)
}

const isNamed = (reference: string): boolean => {
  const { tag, digest } = partsOf(reference)
  return digest !== undefined || (tag !== undefined && tag !== 'latest')
}

const tagOf = (reference: string): string => partsOf(reference).tag ?? 'latest (none is named)'

const says = (reference: string) =>
  ` has the tag ${tagOf(reference)}, which may name another image tomorrow; say a whole version or a digest (IMAGES)`
