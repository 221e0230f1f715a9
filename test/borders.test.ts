import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { system } from '../infra/system.ts'
import { runNode } from './support/run-node.ts'

const PACKAGES = ['services/chassis', 'infra/kit', 'scripts']
const packageOf = (path: string) => PACKAGES.find(folder => path.startsWith(`${folder}/`))

test('nobody imports a file of another package: what leaves one is named by its entry points', async () => {
  const files = globSync(['services/**/*.ts', 'infra/**/*.ts', 'scripts/**/*.ts', 'release/*.ts'], { exclude: path => path.includes('node_modules') })
  expect(files.length).toBeGreaterThan(200)
  const crossing: string[] = []
  for (const file of files) {
    for (const [, specifier = ''] of (await readFile(file, 'utf8')).matchAll(/(?:from |import\()'(\.{1,2}\/[^']*)'/g)) {
      const target = normalize(`${dirname(file)}/${specifier}`)
      if (packageOf(target) !== undefined && packageOf(target) !== packageOf(file)) crossing.push(`${file} -> ${target}`)
    }
  }
  expect(crossing).toEqual([])
})

test('the packages import what package.json names, and nothing of the repository that they are in', async () => {
  for (const folder of PACKAGES) {
    const manifest = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'))
    const allowed = new Set([
      manifest.name,
      ...Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.optionalDependencies }),
    ])
    // Templates are text with imports of whom it is written for.
    const files = globSync([`${folder}/**/*.ts`, `${folder}/*.mjs`], { exclude: path => /node_modules|templates/.test(path) })
    expect(files.length).toBeGreaterThan(10)
    const foreign: string[] = []
    for (const file of files) {
      for (const [, specifier = ''] of (await readFile(file, 'utf8')).matchAll(/^(?:import|export) (?:[\w\s{},*]*?from )?'([^']+)'/gm)) {
        const [, name = ''] = /^((?:@[^/]+\/)?[^/]+)/.exec(specifier) ?? []
        const isOwn = specifier.startsWith('.') ? packageOf(normalize(`${dirname(file)}/${specifier}`)) === folder : /^(?:node:|#)/.test(specifier)
        if (!isOwn && !allowed.has(name)) foreign.push(`${file} -> ${specifier}`)
      }
    }
    expect(foreign).toEqual([])
  }
})

/** Folders of tests of the packages, and what they stand on. */
const KIT_TESTS = ['infra', 'scripts', 'chassis', 'support'].map(folder => `test/${folder}/**/*.ts`)

test('no test of the packages knows the shop: they stand on the system acme', async () => {
  const files = globSync(KIT_TESTS)
  expect(files.length).toBeGreaterThan(150)
  const knowing: string[] = []
  for (const file of files) {
    const text = await readFile(file, 'utf8')
    const targets = [...text.matchAll(/(?:from |import\(|new URL\()'(\.{1,2}\/[^']*)'/g)].map(([, path = '']) =>
      normalize(`${dirname(file)}/${path}`),
    )
    knowing.push(
      ...targets
        .filter(target => /^(?:services\/(?:user|order)|test\/(?:shop|user|order)|infra\/[\w-]+\.ts$)/.test(target))
        .map(target => `${file} -> ${target}`),
    )
    // As services: users there are without the shop's service of that name, and an order may be one of things.
    const named = text.match(
      /services\/(?:user|order)\/|\b(?:user|order)-(?:pods|database|dashboard|owner|[a-d]\b)|\b(?:order|shop)[/.](?:user|order)\b|'(?:order|shop)'/g,
    )
    knowing.push(...(named ?? []).map(word => `${file}: ${word}`))
  }
  expect(knowing).toEqual([])
})

test('no command knows a service, an operation or a table of the shop', async () => {
  const { services } = system
  const operations = services.flatMap(({ contract }) => Object.keys(contract))
  // Users are there without the shop's service of that name.
  const words = [...services.map(({ name }) => name), ...operations, 'iphone', 'reservations', 'sessions'].filter(word => word !== 'user')
  const files = globSync('scripts/**/*.{ts,mjs}', { exclude: path => path.includes('node_modules') })
  const known: string[] = []
  for (const file of files) {
    const text = await readFile(file, 'utf8')
    for (const word of words) if (text.includes(`'${word}'`)) known.push(`${file}: ${word}`)
  }
  expect(known).toEqual([])
})

/** URLs of everything that Node.js loads for one import. */
async function loadedBy(specifier: string): Promise<string[]> {
  const script = `
    import { registerHooks } from 'node:module'
    const seen = []
    registerHooks({ load: (url, context, next) => { seen.push(url); return next(url, context) } })
    await import('${specifier}')
    console.log(JSON.stringify(seen))`
  const { code, stdout, stderr } = await runNode(['--input-type=module', '--eval', script])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

test('importing @fairlead/chassis loads neither Koa, pg, OpenTelemetry nor any other package but zod and uuid', async () => {
  const loaded = await loadedBy('@fairlead/chassis')
  const packages = new Set(loaded.flatMap(url => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []))
  expect([...packages].sort()).toEqual(['uuid', 'zod'])
  // The same look does see them where they are.
  expect((await loadedBy('@fairlead/chassis/run')).some(url => url.includes('node_modules/koa/'))).toBe(true)
})
