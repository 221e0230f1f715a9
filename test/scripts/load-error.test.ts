import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fairlead } from '../support/fairlead.ts'

let folder: string
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'fairlead broken-')))
  await write('infra/main.ts', "import { loan } from '../services/loan/service.ts'\nexport const app = loan\n")
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), text)
}

const check = () => fairlead(['check'], { cwd: folder })

describe('a project whose file cannot be loaded', () => {
  test.each([
    ['imports a file that is not there', "import { c } from './contrct.ts'\nc\n", 'imports ./contrct.ts, which is not there'],
    ['imports a file above that is not there', "import { c } from '../stock/service.ts'\nc\n", 'imports ../stock/service.ts, which is not there'],
    ['imports a package that is not installed', "import { z } from 'zodd'\nz\n", 'imports zodd, which is not installed'],
    ['has a syntax error', 'export const loan = {\n  a: 1\n  b: 2,\n}\n', /:[23]: Expected ',', got /],
    ['is TypeScript that Node.js cannot strip', '\nexport enum Loan { Open }\n', ':2: TypeScript enum is not supported in strip-only mode'],
  ])('%s: one line says so', async (_, source, said) => {
    await write('services/loan/service.ts', source)
    const { code, stderr } = await check()
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: services\/loan\/service\.ts[^\n]+\n$/)
    expect(stderr).toMatch(said)
  })

  test('asks for a name that another file does not export: one line says where', async () => {
    await write('services/loan/service.ts', 'export const laon = {}\n')
    expect(await check()).toMatchObject({
      code: 1,
      stderr: "error: infra/main.ts:1: The requested module '../services/loan/service.ts' does not provide an export named 'loan'\n",
    })
  })

  test('keeps the stack of what went wrong in a package, and of what a file does when it runs', async () => {
    await write('node_modules/kit/package.json', '{ "type": "module", "exports": "./mod.js" }')
    await write('node_modules/kit/mod.js', "import './gone.js'\n")
    await write('services/loan/service.ts', "import 'kit'\nexport const loan = 1\n")
    expect((await check()).stderr).toMatch(/gone\.js[^\n]+\n +at /)
    await write('services/loan/service.ts', 'export const loan = (undefined as any).open\n')
    expect((await check()).stderr).toMatch(/TypeError: [^\n]+\n +at .*services\/loan\/service\.ts:1/)
  })
})

describe('a command in a folder of a project', () => {
  test('is for the project around it', async () => {
    await write('infra/main.ts', 'export const app = {}\n')
    await mkdir(join(folder, 'services/loan'), { recursive: true })
    expect(await fairlead(['check'], { cwd: join(folder, 'services/loan') })).toMatchObject({
      code: 1,
      stderr: `error: ${join(folder, 'infra/main.ts')} exports no app: export const app = defineApp({ ... })\n`,
    })
  })

  test('is refused where there is none', async () => {
    await rm(join(folder, 'infra'), { recursive: true })
    expect(await check()).toMatchObject({
      code: 1,
      stderr: `error: ${folder} has no infra/main.ts: run this in the folder of a Fairlead project\n`,
    })
  })
})

describe('-h', () => {
  test.each([[[]], [['start']]])('after %j is --help', async words => {
    const [short, long] = await Promise.all(['-h', '--help'].map(flag => fairlead([...words, flag])))
    expect(short).toEqual({ ...long, code: 0 })
    expect(short?.stdout).toContain('-h, --help')
  })
})
