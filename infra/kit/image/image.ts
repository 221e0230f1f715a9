import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { pack } from 'tar-stream'
import { type ImageSettings, imagesFor, pinned } from '../settings/images.ts'
import type { Project, Repository } from '../settings/project.ts'
import type { Settings } from '../settings/settings.ts'
import { identityOf } from './base.ts'
import { type Bundle, bundleService } from './bundle.ts'
import { sbomOf } from './sbom.ts'

export interface ServiceImage extends Bundle {
  service: string
  /** Digest of everything that goes in, so that a changed source file rolls the pods and nothing else does. */
  tag: string
  /** `registry/service:tag` */
  reference: string
  /** What it is built on. */
  base: Base
  /** Where its sources are. */
  repository: Repository
}

export interface Base {
  reference: string
  /** Its digest, or what docker knows it by: with a fixed base an image is another one. */
  identity: string
}

const DOCKERFILE = new URL('./Dockerfile', import.meta.url)
const BUILD_TIMEOUT_MS = 300_000

export interface ImageOptions extends Repository {
  registry: string
  /** Replaces the digest, e.g. with what a pipeline pushed. */
  tag?: string | undefined
  /** @default the pinned one, by its name */
  base?: Base
}

/** The pinned base as every machine knows it: by its name alone. */
export const NAMED: Base = { reference: pinned.node, identity: pinned.node }

export async function describeImage(service: string, { registry, tag, base = NAMED, ...repository }: ImageOptions): Promise<ServiceImage> {
  const bundle = await bundleService(service, repository.root)
  const named = tag ?? (await digest(bundle, base, repository))
  return { ...bundle, service, base, repository, tag: named, reference: `${registry}/${service}:${named}` }
}

export type BuildSettings = Pick<Settings, 'IMAGE_REGISTRY' | 'IMAGE_TAG'> & ImageSettings

/** The base as the settings have it, and as the local docker knows it. */
async function baseFor(settings: ImageSettings): Promise<Base> {
  const reference = imagesFor(settings).node
  return { reference, identity: await identityOf(reference) }
}

/** The image of every service, on one base. */
export async function describeImages({ system, root, version, license }: Project, settings: BuildSettings, base?: Base): Promise<ServiceImage[]> {
  const repository = { root, version, ...(license && { license }) }
  const common = { ...repository, registry: settings.IMAGE_REGISTRY, tag: settings.IMAGE_TAG, base: base ?? (await baseFor(settings)) }
  return Promise.all(system.services.map(({ name }) => describeImage(name, common)))
}

/** The image reference of every service. */
export async function imageReferences(project: Project, settings: BuildSettings): Promise<Record<string, string>> {
  const { IMAGE_REGISTRY: registry, IMAGE_TAG: tag } = settings
  if (tag) return Object.fromEntries(project.system.services.map(({ name }) => [name, `${registry}/${name}:${tag}`]))
  return Object.fromEntries((await describeImages(project, settings)).map(({ service, reference }) => [service, reference]))
}

/** Of the sources too, so that it tells which ones an image was made of, and of what the bundler made of them. */
async function digest({ files, inputs }: Bundle, { reference, identity }: Base, { root, version }: Repository): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([reference, identity, version]))
  hash.update(await readFile(DOCKERFILE))
  for (const path of inputs) hash.update(`\0${path}\0`).update(await readFile(join(root, path)))
  for (const [path, content] of [...files].sort()) hash.update(`\0${path}\0`).update(content)
  return hash.digest('hex').slice(0, 12)
}

const run = promisify(execFile)

/**
 * Builds an image unless the local daemon has it.
 * @throws Error with the last lines that docker wrote
 */
export async function buildImage(image: ServiceImage, { signal }: { signal?: AbortSignal } = {}): Promise<'built' | 'present'> {
  const present = await run('docker', ['image', 'inspect', image.reference], { timeout: 30_000, ...(signal && { signal }) }).then(
    () => true,
    () => false,
  )
  signal?.throwIfAborted()
  if (present) return 'present'
  const args = {
    BASE: image.base.reference,
    BASE_DIGEST: image.base.identity,
    SERVICE: image.service,
    VERSION: image.repository.version,
    TAG: image.tag,
    LICENSE: image.repository.license ?? '',
  }
  const flags = Object.entries(args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`])
  const context = await archive({ Dockerfile: await readFile(DOCKERFILE), 'app.tar': await appArchive(image) })
  await docker(['build', '--tag', image.reference, ...flags, '-'], context, signal)
  return 'built'
}

/** Writes the image's bill of materials beside the manifests. @returns its path */
export async function writeSbom(image: ServiceImage): Promise<string> {
  const path = join('dist', 'images', `${image.service}-${image.tag}.cdx.json`)
  const { root } = image.repository
  await mkdir(join(root, 'dist', 'images'), { recursive: true })
  await writeFile(join(root, path), await sbomOf(image))
  return path
}

/** Files of the image, the same bytes for the same content. */
export const appArchive = ({ files }: Bundle): Promise<Buffer> =>
  archive(Object.fromEntries([...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, content]) => [`app/${path}`, content])))

async function archive(files: Record<string, Uint8Array>): Promise<Buffer> {
  const tar = pack()
  const fixed = { mtime: new Date(0), uid: 0, gid: 0 }
  const folders = new Set(
    Object.keys(files).flatMap(path =>
      path
        .split('/')
        .slice(0, -1)
        .map((_, n, parts) => parts.slice(0, n + 1).join('/')),
    ),
  )
  for (const name of folders) tar.entry({ ...fixed, name, type: 'directory', mode: 0o755 })
  for (const [name, content] of Object.entries(files)) tar.entry({ ...fixed, name, mode: 0o644 }, Buffer.from(content))
  tar.finalize()
  return buffer(tar)
}

function docker(args: string[], input: Buffer, signal: AbortSignal | undefined): Promise<void> {
  const limit = AbortSignal.timeout(BUILD_TIMEOUT_MS)
  return new Promise((resolve, reject) => {
    let output = ''
    const child = spawn('docker', args, { stdio: ['pipe', 'pipe', 'pipe'], signal: signal ? AbortSignal.any([signal, limit]) : limit })
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', chunk => {
        output = `${output}${chunk}`.slice(-2_000)
      })
    child.on('error', reject)
    child.on('close', code => {
      if (code === 0) resolve()
      else reject(new Error(`docker build ended with ${code}: ${output.trim().split('\n').slice(-4).join(' | ')}`))
    })
    // A daemon that ends early closes its end; its own message says why.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
