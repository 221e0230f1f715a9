import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { defineApp } from '../../infra/kit/app.ts'
import { DefinitionError, defineJourney } from '../../services/chassis/contract/mod.ts'
import { hello, project, system } from '../support/acme.ts'
import { runNode } from '../support/run-node.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fairlead app-'))
  return () => rm(root, { recursive: true, force: true })
})

const packageJson = (content: object) => writeFile(join(root, 'package.json'), JSON.stringify(content))

describe('defineApp', () => {
  test("takes version and licence of the root's package.json, by path or by URL", async () => {
    await packageJson({ version: '4.5.6', license: 'MIT' })
    expect(defineApp({ system, root })).toMatchObject({ root, version: '4.5.6', license: 'MIT' })
    expect(defineApp({ system, root: pathToFileURL(`${root}/`) })).toMatchObject({ root, version: '4.5.6' })
  })

  test('knows no licence of a repository that has none', async () => {
    await packageJson({ version: '4.5.6' })
    expect(defineApp({ system, root })).not.toHaveProperty('license')
  })

  test('refuses a journey with a step of a service outside the system, and names both', async () => {
    await packageJson({ version: '4.5.6' })
    const bell = { ...hello, name: 'bell' }
    const journey = defineJourney(({ call }) => {
      call(hello, 'latestGreeting')
      call(bell, 'latestGreeting')
    })
    expect(() => defineApp({ system, root, journey })).toThrow(
      new DefinitionError('step 2 of the journey (bell.latestGreeting): bell is not in the system; add it to services in infra/system.ts'),
    )
    expect(defineApp({ system: { name: 'acme', services: [hello, bell] }, root, journey }).journey).toBe(journey)
  })

  test.each([
    [undefined, / cannot be read: the root of an app is the folder with its package\.json$/],
    [{ name: 'acme' }, / has no version, which labels of objects and images carry$/],
  ])('refuses a root with the package.json %j in one line that names it', async (content, message) => {
    if (content) await packageJson(content)
    const define = () => defineApp({ system, root })
    expect(define).toThrow(message)
    expect(define).toThrow(join(root, 'package.json'))
  })
})

describe('app.synth', () => {
  beforeEach(async () => {
    await packageJson({ version: '4.5.6' })
    await mkdir(join(root, 'infra'))
    await cp(join(project.root, 'docs'), join(root, 'docs'), { recursive: true })
    const [app, graph] = ['infra/kit/app.ts', 'test/support/acme.ts'].map(path => JSON.stringify(pathToFileURL(resolve(path)).href))
    await writeFile(
      join(root, 'infra/main.mjs'),
      `import { defineApp } from ${app}\nimport { system } from ${graph}\nconst app = defineApp({ system, root: new URL('..', import.meta.url) })\nawait app.synth(process.env)\n`,
    )
  })

  const synth = (args: string[] = [], env: Record<string, string> = {}) =>
    runNode([join(root, 'infra/main.mjs'), ...args], { cwd: tmpdir(), env: { IMAGE_TAG: '1', ...env } })

  test("writes to the root's dist/ from whatever folder it is run in, with the root's version, and removes an earlier run's charts", async () => {
    await mkdir(join(root, 'dist'))
    await writeFile(join(root, 'dist/0002-gone.k8s.yaml'), '')
    expect(await synth()).toMatchObject({ code: 0, stdout: '' })
    expect(await readdir(join(root, 'dist'))).toEqual([`0000-${system.name}.k8s.yaml`, '0001-platform.k8s.yaml'])
    const objects = parseAllDocuments(await readFile(join(root, `dist/0000-${system.name}.k8s.yaml`), 'utf8')).map(document => document.toJS())
    const versions = objects.filter(({ kind }) => kind === 'Deployment').map(({ metadata }) => metadata.labels['app.kubernetes.io/version'])
    expect(versions).toEqual(system.services.map(() => '4.5.6'))
  })

  test('--help lists every setting and writes nothing', async () => {
    const { code, stdout } = await synth(['--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ {2}NAMESPACE: .+$/m)
    expect(stdout).not.toContain('undefined')
    expect(await readdir(root)).not.toContain('dist')
  })

  test.each([
    [['--colour'], {}, 2, /^error: [^\n]*'--colour'[^\n]*; see --help\n$/],
    [[], { HOST: 'a b' }, 1, /^error: the environment has 1 problem:\n {2}HOST is wrong [^\n]*\n$/],
    [[], { CDK8S_OUTDIR: '/dev/null/x' }, 1, /^error: E[A-Z]+: [^\n]*\/dev\/null\/x[^\n]*\n$/],
  ])('refuses %j with %j without a stack', async (args, env, code, message) => {
    expect(await synth(args, env)).toEqual({ code, stdout: '', stderr: expect.stringMatching(message) })
  })
})
