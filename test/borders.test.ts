import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, normalize } from 'node:path'
import { expect, test } from 'vitest'
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
