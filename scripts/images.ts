import { buildImage, writeSbom } from '../infra/image/image.ts'
import { someSettings } from '../infra/settings.ts'
import { system } from '../infra/system.ts'
import { parseFlags } from './cluster/options.ts'
import { describeImages } from './cluster/release.ts'
import { createSteps, runCommand } from './terminal.ts'

const HELP = `npm run images [-- options]

Builds the image of each service unless the local docker has it, and writes its bill of materials (CycloneDX) to dist/images.

  --json  print references as JSON on standard output
  --help  this text

IMAGE_REGISTRY and IMAGE_TAG name them; the tag is by default the digest of what goes in.
`

await runCommand('npm run images', async signal => {
  const flags = parseFlags({ json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const { step } = createSteps()
  const images = await describeImages(system, someSettings(process.env, 'IMAGE_REGISTRY', 'IMAGE_TAG'))
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
