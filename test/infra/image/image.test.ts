import { execFile } from 'node:child_process'
import { appendFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { appArchive, describeImage, type ServiceImage } from '../../../infra/kit/image/image.ts'
import { sbomOf } from '../../../infra/kit/image/sbom.ts'
import { memoryVariables } from '../../../infra/kit/objects/memory.ts'
import { project } from '../../support/acme.ts'
import { testDatabase } from '../../support/database.ts'

const run = promisify(execFile)
const SERVICES = ['stock', 'hello'] as const
const images = {} as Record<(typeof SERVICES)[number], ServiceImage>

beforeAll(async () => {
  for (const name of SERVICES) images[name] = await describeImage(name, { ...project, registry: 'fairlead' })
})

/** The image's /app in a folder of its own, away from the project's node_modules. */
async function unpacked(image: ServiceImage): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-image-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  for (const [path, content] of image.files) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), content)
  }
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  return join(dir, 'main.js')
}

test('memory is bounded alike in the image, as a share of its limit, and on a machine', async () => {
  const dockerfile = await readFile(new URL('../../../infra/kit/image/Dockerfile', import.meta.url), 'utf8')
  const inImage = Object.fromEntries([...dockerfile.matchAll(/^ENV (\w+)="?(.*?)"?$/gm)].map(([, name, value]) => [name, value]))
  const onMachine = memoryVariables({ resources: { requests: { cpu: '1', memory: '1Mi' }, limits: { cpu: '1', memory: '400Mi' } } })
  expect(onMachine).toEqual({ NODE_OPTIONS: '--max-semi-space-size=8 --max-old-space-size=160', MALLOC_ARENA_MAX: '2' })
  const { NODE_ENV, ...variables } = inImage
  expect(NODE_ENV).toBe('production')
  expect(variables).toEqual({ ...onMachine, NODE_OPTIONS: onMachine.NODE_OPTIONS?.replace('size=160', 'size-percentage=40') })
})

test('a service that cannot be bundled is named in one line', async () => {
  const refused = describeImage('nowhere', { ...project, registry: 'fairlead' })
  await expect(refused).rejects.toMatchObject({
    name: 'ProjectError',
    message: expect.stringMatching(/^the service nowhere cannot be bundled: .*main\.ts/),
  })
})

describe('an image', () => {
  test('is named by a digest of what goes in', () => {
    for (const name of SERVICES) expect(images[name].reference).toMatch(new RegExp(`^fairlead/${name}:[0-9a-f]{12}$`))
    expect(images.stock.tag).not.toBe(images.hello.tag)
  })

  test('is the same, byte for byte, when nothing changed', async () => {
    const again = await describeImage('hello', { ...project, registry: 'fairlead' })
    expect(again.tag).toBe(images.hello.tag)
    expect((await appArchive(again)).equals(await appArchive(images.hello))).toBe(true)
  })

  test('takes its inputs from the service, the chassis and the packages that they import', () => {
    expect(images.stock.inputs).toEqual(
      expect.arrayContaining([
        'services/stock/main.ts',
        'services/stock/migrations/001_items.sql',
        'services/stock/migrations/002_titles.sql',
        'services/stock/catalogue.json',
        expect.stringMatching(/(^|\/)services\/chassis\/identity\/auth\.ts$/),
        expect.stringMatching(/(^|\/)node_modules\/koa\/lib\/application\.js$/),
      ]),
    )
    expect(images.stock.inputs.filter(path => /services\/(hello|user|order)\/|vitest/.test(path))).toEqual([])
  })

  test('is given another tag by a changed source file, even in a comment, and by nothing else', async () => {
    const root = await mkdtemp(join(tmpdir(), 'fairlead-sources-'))
    onTestFinished(() => rm(root, { recursive: true, force: true }))
    await cp(project.root, root, { recursive: true })
    await symlink(resolve('node_modules'), join(root, 'node_modules'))
    const tagOf = async (name: string) => (await describeImage(name, { ...project, registry: 'fairlead', root })).tag
    const before = { stock: await tagOf('stock'), hello: await tagOf('hello') }
    await appendFile(join(root, 'services/stock/start.ts'), '// A remark.\n')
    await writeFile(join(root, 'services/stock/README.ts'), '// Imported by nobody.\n')
    expect(await tagOf('stock')).not.toBe(before.stock)
    expect(await tagOf('hello')).toBe(before.hello)
  })

  test('is given another tag by a base that is another one, under the same name or another', async () => {
    const tagOn = async (reference: string, identity: string) =>
      (await describeImage('stock', { ...project, registry: 'fairlead', base: { reference, identity } })).tag
    const tags = [await tagOn('node:24.1', 'sha256:a'), await tagOn('node:24.1', 'sha256:b'), await tagOn('node:24.2', 'sha256:a')]
    expect(new Set(tags).size).toBe(3)
    expect(await tagOn('node:24.1', 'sha256:a')).toBe(tags[0])
  })

  test('can be named by whoever pushed it', async () => {
    expect((await describeImage('stock', { ...project, registry: 'registry.example.org/acme', tag: 'v7' })).reference).toBe(
      'registry.example.org/acme/stock:v7',
    )
  })

  test.each([
    ['stock', 'DATABASE_URL_FILE is missing'],
    ['hello', 'NAMESPACE is missing'],
  ] as const)('of %s runs by itself: it names the settings that it lacks', async (name, missing) => {
    const failed = await run(process.execPath, [await unpacked(images[name])], { env: {} }).catch(error => error)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(new RegExp(`^${name} cannot start: the environment has \\d+ problems?:`, 'm'))
    expect(failed.stderr).toContain(missing)
  })

  test('of a service with a database migrates it', async () => {
    const db = await testDatabase()
    const main = await unpacked(images.stock)
    const url = join(dirname(main), 'url')
    await writeFile(url, db.url)
    const { stdout } = await run(process.execPath, [main, 'migrate'], { env: { DATABASE_URL_FILE: url } })
    expect(stdout).toMatch(/"ran":\["001_items","002_titles"\],"msg":"migrated"/)
    await db.close()
  })
})

describe('the bill of materials', () => {
  test('lists what is inside with version, licence and purl, and no development tool', async () => {
    const { components, serialNumber, specVersion } = JSON.parse(await sbomOf(images.stock))
    const names = components.map(({ name }: { name: string }) => name)
    expect(names).toEqual(expect.arrayContaining(['gcr.io/distroless/nodejs24-debian13', 'koa', 'pg', 'undici', 'zod', '@opentelemetry/api']))
    expect(names.filter((name: string) => /vitest|typescript|esbuild|cdk8s/.test(name))).toEqual([])
    expect(components.find(({ name }: { name: string }) => name === '@opentelemetry/api')).toMatchObject({
      version: '1.10.0',
      purl: 'pkg:npm/%40opentelemetry/api@1.10.0',
      licenses: [{ license: { id: 'Apache-2.0' } }],
    })
    expect([specVersion, serialNumber]).toEqual([
      '1.6',
      expect.stringMatching(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/),
    ])
  })

  test('is the same for the same image', async () => {
    expect(await sbomOf(images.stock)).toBe(await sbomOf(await describeImage('stock', { ...project, registry: 'fairlead' })))
  })
})
