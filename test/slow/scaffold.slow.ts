import { spawn } from 'node:child_process'
import { chmod, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { CDK8S } from '../support/documented-commands.ts'
import { runProgram } from '../support/run-node.ts'

/** A folder outside of this repository, with a blank in its path: nothing is there but the tarballs of the packages. */
let folder: string
/** The repository that `fairlead create` makes there. */
let acme: string

const PACKAGES = resolve('dist/packages')
/** Away from the ports of a system that runs here. */
const PORT_OFFSET = 13_000

async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now()
  const result = await work()
  process.stderr.write(`    ${title}: ${((performance.now() - startedAt) / 1_000).toFixed(1)} s\n`)
  return result
}

/** Runs it to its end, which has to be 0. */
const run = (program: string, ...args: string[]) =>
  step([program, ...args].join(' '), async () => {
    const ended = await runProgram(program, args, { cwd: acme, env: { CI: 'true' }, timeoutMs: 600_000 })
    expect(ended, stripVTControlCharacters(ended.stdout + ended.stderr)).toMatchObject({ code: 0 })
    expect(ended.stderr.toLowerCase()).not.toContain('warn')
    return stripVTControlCharacters(ended.stdout)
  })
const npm = (...args: string[]) => run('npm', ...args)
const fairlead = (...args: string[]) => run(join(acme, 'node_modules/.bin/fairlead'), ...args)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fairlead user-'))
  // Under root Postgres runs as nobody, who has to reach its programs.
  await chmod(folder, 0o755)
  acme = join(folder, 'acme')
  await step('npm run pack', () => runProgram('npm', ['run', '--silent', 'pack'], { timeoutMs: 300_000 }))
  for (const file of await readdir(PACKAGES)) if (file.endsWith('.tgz')) await cp(join(PACKAGES, file), join(folder, file))
  const made = await runProgram(process.execPath, [resolve('scripts/fairlead.mjs'), 'create', 'acme', '--packages', folder], { cwd: folder })
  expect(made).toMatchObject({ code: 0 })
  await npm('install', '--no-audit', '--no-fund')
}, 900_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

test('a new repository passes its own tests, and still does with two services more', async () => {
  expect(await npm('test')).toMatch(/Tests +2 passed/)
  await fairlead('add', 'service', 'stock')
  await fairlead('add', 'service', 'booking', '--database', '--users', '--command', 'stock.updateStock')
  expect(await npm('test')).toMatch(/Tests +6 passed/)
}, 600_000)

test(
  'its compiler has nothing to say of the declarations of the packages',
  () => run(join(acme, 'node_modules/.bin/tsc'), '--skipLibCheck', 'false'),
  300_000,
)

test('it is synthesized, and its chart and diagram are written; nothing in them is of the shop', async () => {
  await fairlead('synth')
  const manifests = await readFile(join(acme, 'dist/0000-acme.k8s.yaml'), 'utf8')
  await run('npx', '--yes', CDK8S, 'synth')
  expect(await readFile(join(acme, 'dist/0000-acme.k8s.yaml'), 'utf8')).toBe(manifests)
  await fairlead('charts')
  await fairlead('diagram')
  for (const path of ['dist/0000-acme.k8s.yaml', 'charts/acme/values.yaml', 'charts/acme/Chart.yaml', 'docs/diagram.mmd']) {
    const text = await readFile(join(acme, path), 'utf8')
    expect(text, path).toMatch(/\bacme\b|\bbooking\b/)
    expect(text.match(/.{0,60}\bshop\b.{0,60}/gi) ?? [], path).toEqual([])
  }
}, 300_000)

const JOURNEY = `import { defineJourney } from '@fairlead/chassis'
import { booking } from '../services/booking/service.ts'
import { hello } from '../services/hello/service.ts'

export const journey = defineJourney(({ call, fresh, user }) => {
  call(hello, 'getHello', { params: { id: fresh.id() } })
  const as = user()
  const id = fresh.id()
  call(booking, 'putBooking', { as, params: { id }, body: { text: 'a bike' }, crosses: ['stock'] })
  call(booking, 'getBooking', { as, params: { id }, until: ({ state }) => state === 'done' })
})
`

/** Runs the curl lines that a command has printed. */
async function tryLines(printed: string): Promise<void> {
  const lines = printed.slice(printed.search(/^(new_id|member|#) ?/m))
  const tried = await step('its lines', () => runProgram('bash', ['--norc', '-euc', lines], { cwd: acme, timeoutMs: 60_000 }))
  expect(tried).toMatchObject({ code: 0, stderr: '' })
  expect(tried.stdout).toContain('"text":"Hello"')
  expect(tried.stdout).toContain('"text":"a bike"')
}

test('it starts, and the lines that it prints work as they are printed', async () => {
  await writeFile(join(acme, 'infra/journey.ts'), JOURNEY)
  await run(join(acme, 'node_modules/.bin/tsc'))
  const child = spawn('npm', ['start', '--', '--port-offset', String(PORT_OFFSET)], { cwd: acme, detached: true })
  onTestFinished(() => {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {}
  })
  const ended = new Promise(done => child.once('close', done))
  const said = { stdout: '', stderr: '' }
  const up = new Promise<void>(done => {
    // Two pipes: what was written first may come last.
    const isUp = () => said.stderr.includes('Ctrl-C stops everything') && /^# Get a booking.*\ncurl .*\n/m.test(said.stdout)
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].on('data', data => {
        said[stream] += data
        if (isUp()) done()
      })
  })
  await step('npm start', () => Promise.race([up, ended]))
  expect(said.stderr).toContain('Ctrl-C stops everything')
  await tryLines(said.stdout)
  process.kill(-(child.pid as number), 'SIGINT')
  await step('Ctrl-C', () => ended)
}, 300_000)

/** Said by .ci/run, where docker, kind and every image are there. */
const onKind = process.env.SCAFFOLD_ON_KIND === 'true'
if (!onKind) process.stderr.write('SKIPPED: a scaffolded system on a kind cluster, for SCAFFOLD_ON_KIND is not true\n')

test.skipIf(!onKind)(
  'it comes up on a kind cluster, where its lines work and doctor finds nothing wrong',
  async () => {
    const cluster = 'fairlead-acme'
    onTestFinished(() => fairlead('down', '--name', cluster).then(() => undefined))
    await fairlead('images')
    await tryLines(await fairlead('up', '--name', cluster))
    expect(JSON.parse(await fairlead('doctor', '--context', `kind-${cluster}`, '--json'))).toMatchObject({ healthy: true })
  },
  900_000,
)

const NEWER = '99.0.0'

/** The packages again as if they were of another version. @returns their tarballs */
async function newerPackages(): Promise<string[]> {
  const tarballs: string[] = []
  for (const name of ['chassis', 'kit', 'scripts']) {
    const stage = join(folder, 'newer', name)
    await cp(join(PACKAGES, name), stage, { recursive: true })
    const manifest = await readFile(join(stage, 'package.json'), 'utf8')
    await writeFile(join(stage, 'package.json'), manifest.replaceAll(`"${packageJson.version}"`, `"${NEWER}"`))
    const { stdout } = await runProgram('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: stage })
    tarballs.push(join(folder, stdout.trim()))
  }
  return tarballs
}

test('a newer version of the packages changes nothing that is its own', async () => {
  const before = await ownFiles()
  await npm('install', '--no-audit', '--no-fund', ...(await newerPackages()))
  for (const name of ['@fairlead/chassis', '@fairlead/infra', 'fairlead'])
    expect(JSON.parse(await readFile(join(acme, 'node_modules', name, 'package.json'), 'utf8')).version, name).toBe(NEWER)
  const installed = { 'package.json': expect.any(String), 'package-lock.json': expect.any(String) }
  expect(await ownFiles()).toEqual({ ...before, ...installed })
  expect(await npm('test')).toMatch(/Tests +6 passed/)
  await fairlead('charts', '--check')
}, 600_000)

/** Text of every file outside of what is installed or made, by path. */
async function ownFiles(): Promise<Record<string, string>> {
  const entries = await readdir(acme, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile() && !/node_modules|\.data|\/dist$/.test(entry.parentPath))
  return Object.fromEntries(
    await Promise.all(
      files.map(async ({ parentPath, name }) => [join(parentPath, name).slice(acme.length + 1), await readFile(join(parentPath, name), 'utf8')]),
    ),
  )
}
