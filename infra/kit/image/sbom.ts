import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { partsOf } from '../settings/images.ts'
import type { ServiceImage } from './image.ts'

interface Package {
  name: string
  version: string
  license?: string
}

/** The packages that the files of a bundle come from, each once. */
async function packagesOf(root: string, inputs: readonly string[]): Promise<Package[]> {
  const folders = new Set(inputs.flatMap(path => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []))
  const packages = await Promise.all(
    [...folders].map(async folder => {
      const { name, version, license } = JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'))
      return { name, version, ...(typeof license === 'string' && { license }) } as Package
    }),
  )
  return packages.sort((a, b) => (`${a.name}@${a.version}` < `${b.name}@${b.version}` ? -1 : 1))
}

/** An SPDX identifier or expression; npm's own words for none are a name. */
const licensesOf = (license: string | undefined) =>
  license && {
    licenses: [
      /^(UNLICENSED$|SEE LICENSE IN )/.test(license)
        ? { license: { name: license } }
        : /[ ()]/.test(license)
          ? { expression: license }
          : { license: { id: license } },
    ],
  }

const purlOf = ({ name, version }: Package) => `pkg:npm/${name.replace('@', '%40')}@${version}`

/** The bill of materials of one image, CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json); the same bytes for the same image. */
export async function sbomOf({
  service,
  tag,
  base: { reference, identity },
  inputs,
  repository,
}: Pick<ServiceImage, 'service' | 'tag' | 'base' | 'inputs' | 'repository'>): Promise<string> {
  const { name: base, tag: baseTag = identity } = partsOf(reference)
  const seed = createHash('sha256').update(`${service}:${tag}`).digest('hex')
  const uuid = `${seed.slice(0, 8)}-${seed.slice(8, 12)}-5${seed.slice(13, 16)}-a${seed.slice(17, 20)}-${seed.slice(20, 32)}`
  const packages = await packagesOf(repository.root, inputs)
  return `${JSON.stringify(
    {
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      serialNumber: `urn:uuid:${uuid}`,
      version: 1,
      metadata: { component: { type: 'container', name: service, version: tag, ...licensesOf(repository.license) } },
      components: [
        { type: 'container', name: base, version: baseTag, purl: `pkg:docker/${base}@${baseTag}` },
        ...packages.map(({ license, ...found }) => ({
          type: 'library',
          'bom-ref': purlOf(found),
          ...found,
          purl: purlOf(found),
          ...licensesOf(license),
        })),
      ],
    },
    null,
    2,
  )}\n`
}
