import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { namesOf } from '../../scripts/templates/names.ts'
import { MARKS } from '../../scripts/templates/repository.ts'
import * as versions from '../../scripts/templates/versions.ts'
import { runNode } from '../support/run-node.ts'

const FAIRLEAD = resolve('scripts/fairlead.mjs')
const bin = (name: string) => resolve('node_modules/.bin', name)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead scaffold-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const fairlead = (cwd: string, ...args: string[]) => runNode([FAIRLEAD, ...args], { cwd })

describe('fairlead create and fairlead add service', () => {
  let acme: string
  beforeAll(async () => {
    acme = join(folder, 'acme')
    expect(await fairlead(folder, 'create', 'acme')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^cd acme\nnpm install\n/),
      stderr: expect.stringContaining('not on npm yet: --packages DIR with the tarballs of npm run pack'),
    })
    await symlink(resolve('node_modules'), join(acme, 'node_modules'))
  })

  test('make a repository whose services compile, pass their tests and are synthesized', async () => {
    expect(await fairlead(acme, 'add', 'service', 'gift-card')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('\nAdded to infra/system.ts. Next: add a step to infra/journey.ts\n'),
    })
    expect(await fairlead(acme, 'add', 'service', 'stock', '--grpc', '--calls', 'hello,gift-card')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('at port 8082, by gRPC at 8083\n'),
    })
    expect(await fairlead(acme, 'proto', '--check')).toMatchObject({ code: 0 })
    expect(await fairlead(acme, 'add', 'service', 'shelf', '--database')).toMatchObject({ code: 0 })
    expect(await fairlead(acme, 'add', 'service', 'booking', '--users', '--command', 'gift-card.updateGiftCard')).toMatchObject({ code: 0 })
    const system = await readFile(join(acme, 'infra/system.ts'), 'utf8')
    expect(system).toMatch(/^ {2}users: \{ issuer: /m)
    expect(system).toContain(`    hello,\n    giftCard,\n    stock,\n    shelf,\n    booking,\n    ${MARKS.services}\n`)
    expect(await runNode([bin('tsc')], { cwd: acme })).toMatchObject({ code: 0, stdout: '', stderr: '' })
    const tested = await runNode([bin('vitest'), 'run'], { cwd: acme })
    expect(tested, tested.stdout + tested.stderr).toMatchObject({ code: 0, stderr: '' })
    expect(stripVTControlCharacters(tested.stdout)).toMatch(/Tests +9 passed/)
    expect(await runNode(['infra/main.ts'], { cwd: acme })).toMatchObject({ code: 0 })
    const manifests = await readFile(join(acme, 'dist/0000-acme.k8s.yaml'), 'utf8')
    for (const name of ['hello', 'gift-card', 'stock', 'shelf', 'booking'])
      expect(manifests).toMatch(new RegExp(`^kind: Deployment\nmetadata:[^]*?^  name: ${name}$`, 'm'))
  }, 120_000)

  test('refuse what is there, and leave it as it is', async () => {
    const before = await readFile(join(acme, 'infra/system.ts'), 'utf8')
    expect(await fairlead(folder, 'create', 'acme')).toMatchObject({ code: 1, stderr: `error: ${acme} is there already, with files in it\n` })
    expect(await fairlead(acme, 'add', 'service', 'hello')).toMatchObject({ code: 2, stderr: 'error: the system has a service hello already\n' })
    expect(await readFile(join(acme, 'infra/system.ts'), 'utf8')).toBe(before)
  })

  test.each([
    [['service', 'Stock'], "error: 'Stock' is not a valid service name: up to 30 lower-case letters, digits and single dashes, a letter first\n"],
    [['service', 'new'], "error: 'new' is not a valid service name: it is a reserved word of JavaScript\n"],
    [
      ['service', 'desk', '--command', 'stock.getStock'],
      "error: --command stock.getStock: it takes a PUT or DELETE operation with auth 'workload'; stock has updateStock\n",
    ],
    [
      ['service', 'desk', '--command', 'nobody.x'],
      'error: --command nobody: the system has no such service; it has hello, gift-card, stock, shelf, booking\n',
    ],
    [
      ['service', 'desk', '--calls', 'nobody'],
      'error: --calls nobody: the system has no such service; it has hello, gift-card, stock, shelf, booking\n',
    ],
    [['database', 'desk'], "error: 'database' cannot be added: fairlead add service NAME\n"],
  ])('add %j is refused in one line', async (args, stderr) => {
    expect(await fairlead(acme, 'add', ...args)).toMatchObject({ code: 2, stdout: '', stderr })
  })

  test('print the lines where infra/system.ts has no marked places', async () => {
    const file = join(acme, 'infra/system.ts')
    const marked = await readFile(file, 'utf8')
    await writeFile(file, marked.replace(MARKS.services, ''))
    expect(await fairlead(acme, 'add', 'service', 'desk')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("import { desk } from '../services/desk/service.ts'"),
    })
    expect(await readFile(file, 'utf8')).not.toContain('desk')
  })
})

test('create takes the packages from a folder of tarballs, relative to what it makes', async () => {
  for (const name of ['fairlead', 'fairlead-chassis', 'fairlead-infra']) await writeFile(join(folder, `${name}-1.2.3.tgz`), '')
  expect(await fairlead(folder, 'create', 'packed', '--packages', folder)).toMatchObject({
    code: 0,
    stderr: expect.not.stringContaining('npm install needs'),
  })
  const { dependencies, devDependencies } = JSON.parse(await readFile(join(folder, 'packed/package.json'), 'utf8'))
  expect({ ...dependencies, ...devDependencies }).toMatchObject({
    '@fairlead/chassis': 'file:../fairlead-chassis-1.2.3.tgz',
    '@fairlead/infra': 'file:../fairlead-infra-1.2.3.tgz',
    fairlead: 'file:../fairlead-1.2.3.tgz',
  })
  expect(await fairlead(folder, 'create', 'none', '--packages', join(folder, 'packed'))).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('has no fairlead-chassis-VERSION.tgz: npm run pack writes it'),
  })
})

test('a new repository begins with the versions that this one is tested with', () => {
  const { dependencies, devDependencies, optionalDependencies, overrides } = packageJson
  expect(overrides).toEqual(versions.OVERRIDES)
  expect(dependencies).toMatchObject(versions.DEPENDENCIES)
  expect({ ...devDependencies }).toMatchObject(versions.DEV_DEPENDENCIES)
  expect(optionalDependencies).toMatchObject(versions.OPTIONAL_DEPENDENCIES)
})

test.each([
  ['gift-card', 'giftCard', 'GiftCard'],
  ['a1', 'a1', 'A1'],
])('%s is %s in code, and %s at the end of a name', (name, value, noun) => {
  expect(namesOf('service', name)).toEqual({ name, value, noun })
})

test.each(['', '1a', 'a-', 'a--b', 'aB', 'a'.repeat(31), '../x', 'await'])('%j is no name', name => {
  expect(() => namesOf('service', name)).toThrow('is not a valid service name')
})
