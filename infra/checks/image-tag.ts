import { podSpecs } from './objects.ts'
import type { Check } from './refused.ts'

/** Nobody can tell what `latest` ran, roll back to it, or see that it changed. */
export const imageTag: Check = ({ objects }) =>
  podSpecs(objects).flatMap(({ where, containers }) =>
    containers.flatMap(({ name, image = '' }) => {
      const [, tag] = /^[^@]*?(?::([^/:@]+))?(?:@.*)?$/.exec(image) ?? []
      if (image.includes('@sha256:') || (tag !== undefined && tag !== 'latest')) return []
      return [
        `${where}, container ${name}: image '${image}' has the tag ${tag ?? 'latest (none is named)'}; pin one (IMAGE_TAG, infra/platform/images.ts)`,
      ]
    }),
  )
