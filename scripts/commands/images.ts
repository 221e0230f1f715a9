import { buildImage, describeImages, ensureBase, imagesFor, someSettings, writeSbom } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { checkDocker } from '../cluster/kind.ts'
import { defineCommand } from '../command.ts'
import { createSteps } from '../terminal.ts'

export const images = defineCommand({
  name: 'images',
  summary: 'Build the image of each service, with its bill of materials',
  description: `Builds the image of each service unless the local docker has it, and writes its bill of materials (CycloneDX) to dist/images.

IMAGE_REGISTRY and IMAGE_TAG name them; the tag is by default the digest of what goes in, of the base image too. IMAGES and IMAGE_MIRROR
say where that comes from: fairlead synth --help lists the settings.`,
  examples: ['npx fairlead images', 'IMAGE_REGISTRY=registry.example/acme npx fairlead images --pull', 'npx fairlead images --helm'],
  options: command =>
    command
      .option('--pull', 'look for a newer base image first: an image on a fixed base has another tag, so that pods are replaced')
      .option('--helm', 'print what helm is told of them, and nothing else')
      .option('--json', 'print references as JSON on standard output'),
  run: async (flags, { interrupts }) => {
    const app = await loadApp()
    const signal = interrupts()
    const { step } = createSteps(signal)
    await checkDocker(signal)
    const settings = someSettings(process.env, app.system, 'IMAGE_REGISTRY', 'IMAGE_TAG', 'IMAGES', 'IMAGE_MIRROR')
    if (!flags.helm) await ensureBase(imagesFor(settings).node, { newest: flags.pull, signal })
    const described = await describeImages(app, settings)
    if (flags.helm) {
      const tags = described.map(({ service, tag }) => `--set services.${service}.tag=${tag}`)
      process.stdout.write(`--set image.registry=${settings.IMAGE_REGISTRY} ${tags.join(' ')}\n`)
      return 0
    }
    const written: { service: string; reference: string; sbom: string }[] = []
    for (const image of described) {
      await step(
        image.reference,
        () => buildImage(image, { signal }),
        outcome => outcome,
      )
      written.push({ service: image.service, reference: image.reference, sbom: await writeSbom(image) })
    }
    if (flags.json) process.stdout.write(`${JSON.stringify(written, null, 2)}\n`)
    else for (const { reference, sbom } of written) process.stdout.write(`${reference} ${sbom}\n`)
    return 0
  },
})
