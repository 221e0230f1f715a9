import { buildImage, describeImages, ensureBase, imagesFor, someSettings, writeSbom } from '@fairlead/infra/tools'
import { loadApp } from './app.ts'
import { checkDocker } from './cluster/kind.ts'
import { parseFlags } from './cluster/options.ts'
import { createSteps, runCommand } from './terminal.ts'

const HELP = `npm run images [-- options]

Builds the image of each service unless the local docker has it, and writes its bill of materials (CycloneDX) to dist/images.

  --pull  look for a newer base image first: an image on a fixed base has another tag, so that pods are replaced
  --helm  print what helm is told of them, and nothing else
  --json  print references as JSON on standard output
  --help  this text

IMAGE_REGISTRY and IMAGE_TAG name them; the tag is by default the digest of what goes in, of the base image too. IMAGES and IMAGE_MIRROR
say where that comes from (infra/kit/settings/settings.ts).
`

await runCommand('npm run images', async signal => {
  const flags = parseFlags({
    pull: { type: 'boolean', default: false },
    helm: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  await checkDocker(signal)
  const { step } = createSteps()
  const settings = someSettings(process.env, 'IMAGE_REGISTRY', 'IMAGE_TAG', 'IMAGES', 'IMAGE_MIRROR')
  if (!flags.helm) await ensureBase(imagesFor(settings).node, { newest: flags.pull, signal })
  const images = await describeImages(await loadApp(), settings)
  if (flags.helm) {
    const tags = images.map(({ service, tag }) => `--set services.${service}.tag=${tag}`)
    process.stdout.write(`--set image.registry=${settings.IMAGE_REGISTRY} ${tags.join(' ')}\n`)
    return 0
  }
  const written: { service: string; reference: string; sbom: string }[] = []
  for (const image of images) {
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
})
