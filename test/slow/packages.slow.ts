import { spawn } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import packageJson from '../../package.json' with { type: 'json' }
import { runNode, runProgram } from '../support/run-node.ts'

const PACKAGES = resolve('dist/packages')
const tarballs = ['fairlead-chassis', 'fairlead-infra', 'fairlead'].map(name => join(PACKAGES, `${name}-${packageJson.version}.tgz`))
const bin = (name: string) => resolve('node_modules/.bin', name)

/** As the consumer's main.ts has them by itself. */
const SETTINGS = { NAMESPACE: 'acme', HOST: 'acme.localhost', TLS_SECRET: 'acme-tls' }

/** The packed command, as the consumer runs it. */
const fairlead = (args: string[], cwd = consumer) => runProgram('npx', ['--no-install', 'fairlead', ...args], { cwd, env: SETTINGS })

/** A repository of somebody else's, with a blank in its path and nothing of this one but the tarballs. */
let consumer: string

beforeAll(async () => {
  expect(await runProgram('npm', ['run', '--silent', 'pack'], { timeoutMs: 300_000 })).toMatchObject({ code: 0 })
  const outside = await mkdtemp(join(tmpdir(), 'fairlead consumer-'))
  consumer = outside
  await cp('test/slow/consumer', consumer, { recursive: true })
  const { allowScripts, overrides } = packageJson
  const manifest = { name: 'acme', version: '1.2.3', private: true, type: 'module', allowScripts, overrides }
  await writeFile(join(consumer, 'package.json'), JSON.stringify(manifest))
  const { dependencies, devDependencies } = packageJson as { dependencies: Record<string, string>; devDependencies: Record<string, string> }
  const peers = ['zod', 'koa', 'prom-client', '@opentelemetry/api', 'cdk8s', 'cdk8s-plus-27', 'constructs', 'typescript', '@types/node']
  const wanted = peers.map(name => `${name}@${dependencies[name] ?? devDependencies[name]}`)
  const installed = await runProgram('npm', ['install', '--no-audit', '--no-fund', ...tarballs, ...wanted], { cwd: consumer, timeoutMs: 300_000 })
  expect(installed, installed.stderr).toMatchObject({ code: 0 })
}, 650_000)
afterAll(() => rm(consumer, { recursive: true, force: true }))

describe.each([
  ['@fairlead/chassis', 'chassis', 0],
  ['@fairlead/infra', 'kit', 1],
  ['fairlead', 'scripts', 2],
])('the package %s', (_, folder, at) => {
  test('has nothing that publint or attw would say something of', async () => {
    expect(await runNode([bin('publint'), '--strict', join(PACKAGES, folder)])).toMatchObject({ code: 0 })
    expect(await runNode([bin('attw'), '--profile', 'esm-only', tarballs[at] as string])).toMatchObject({ code: 0 })
  }, 120_000)

  test('has compiled code with declarations and maps that hold their source, its README and LICENSE, and no source, test or shop', async () => {
    const entries = await readdir(join(PACKAGES, folder), { recursive: true, withFileTypes: true })
    const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
    expect(files).toEqual(expect.arrayContaining(['README.md', 'LICENSE', 'package.json'].map(name => join(PACKAGES, folder, name))))
    for (const path of files) {
      expect(path).not.toMatch(/(?<!\.d)\.ts$|\.test|\/tests?\/|install\.mjs|node_modules/)
      if (!path.endsWith('.js')) continue
      expect(files).toEqual(expect.arrayContaining([path.replace(/js$/, 'd.ts'), `${path}.map`]))
      const { sources, sourcesContent } = JSON.parse(await readFile(`${path}.map`, 'utf8'))
      expect(sources).toEqual([basename(path).replace(/js$/, 'ts')])
      expect(sourcesContent[0].length).toBeGreaterThan(0)
    }
  })
})

describe('a repository outside of this one', () => {
  test('compiles, the declarations of the packages included', async () => {
    expect(await runProgram(join(consumer, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: consumer })).toMatchObject({ code: 0, stdout: '' })
  }, 120_000)

  test.each([
    ['its infra/main.ts', () => runNode(['infra/main.ts'], { cwd: consumer })],
    ['npx fairlead synth', () => fairlead(['synth'])],
  ])(
    'is synthesized by %s, with its own name and version in every object and no name of the shop',
    async (_, synth) => {
      await rm(join(consumer, 'dist'), { recursive: true, force: true })
      expect(await synth()).toMatchObject({ code: 0, stderr: expect.not.stringContaining('error') })
      const text = await readFile(join(consumer, 'dist/0000-acme.k8s.yaml'), 'utf8')
      const objects = parseAllDocuments(text).map(document => document.toJS())
      expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(expect.arrayContaining(['Namespace acme', 'Deployment hello']))
      for (const { metadata } of objects) expect(metadata.labels['app.kubernetes.io/version']).toMatch(/^(1\.2\.3|17)$/)
      expect(text).not.toMatch(/\bshop\b/i)
    },
    60_000,
  )

  test('makes a service in a chart of its own and adds to its Deployment', async () => {
    const { code, stdout, stderr } = await runNode(['infra/own.ts'], { cwd: consumer })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const deployment = JSON.parse(stdout).find(({ kind }: { kind: string }) => kind === 'Deployment')
    expect(deployment.metadata).toMatchObject({ name: 'hello', annotations: { team: 'blue' } })
    expect(deployment.spec.template.spec.initContainers[0].restartPolicy).toBe('Always')
  }, 60_000)

  test('starts its service, which answers and drains', async () => {
    const child = spawn(process.execPath, ['services/hello/main.ts'], {
      cwd: consumer,
      env: { ...process.env, NAMESPACE: 'acme', PORT: '0', ADMIN_PORT: '0', LINGER_MS: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const ended = new Promise(done => child.once('close', done))
    const line = await new Promise<string>(done => child.stdout.once('data', data => done(String(data).split('\n')[0] as string)))
    const answer = await fetch(`http://127.0.0.1:${JSON.parse(line).port}/hello/Ada`, { signal: AbortSignal.timeout(10_000) })
    expect(await answer.json()).toEqual({ text: 'Hello Ada' })
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
  }, 30_000)

  test('is started by npx fairlead start, without a Postgres, and stopped by Ctrl-C', async () => {
    const child = spawn(join(consumer, 'node_modules/.bin/fairlead'), ['start', '--port-offset', '12000'], { cwd: consumer })
    onTestFinished(() => void child.kill('SIGKILL'))
    const ended = new Promise(done => child.once('close', done))
    let said = ''
    const up = new Promise<void>(done =>
      child.stderr.on('data', data => {
        said += data
        if (said.includes('Ctrl-C stops everything')) done()
      }),
    )
    await Promise.race([up, ended])
    const answer = await fetch('http://127.0.0.1:20080/hello/Ada', { signal: AbortSignal.timeout(10_000) }).catch(error => ({
      json: () => error + said,
    }))
    expect(await answer.json()).toEqual({ text: 'Hello Ada' })
    child.kill('SIGINT')
    expect(await ended, said).toBe(130)
    expect(said).not.toContain('Postgres')
  }, 60_000)

  test('has its chart and its diagram written, which then have not drifted', async () => {
    for (const command of ['charts', 'diagram']) {
      expect(await fairlead([command])).toMatchObject({ code: 0, stderr: '' })
      expect(await fairlead([command, '--check'])).toMatchObject({ code: 0 })
    }
    expect(await readFile(join(consumer, 'charts/acme/Chart.yaml'), 'utf8')).toContain('version: 1.2.3')
    expect(await readFile(join(consumer, 'docs/diagram.mmd'), 'utf8')).toContain('hello')
  }, 120_000)
})

test('in an empty folder the command tells what it can do, and of the rest that there is no project', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'no project-'))
  onTestFinished(() => rm(empty, { recursive: true, force: true }))
  const run = (...args: string[]) => runProgram(join(consumer, 'node_modules/.bin/fairlead'), args, { cwd: empty })
  const help = await run('--help')
  expect(help).toMatchObject({ code: 0, stderr: '' })
  expect(help.stdout).toMatch(/^Usage: fairlead COMMAND[\s\S]*\n {2}start +Start every service/)
  expect(await run('--version')).toEqual({ code: 0, stdout: `${packageJson.version}\n`, stderr: '' })
  for (const command of ['start', 'synth', 'charts', 'diagram', 'check', 'up'])
    expect(await run(command)).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: ${await realpath(empty)} has no infra/main.ts: run this in the folder of a Fairlead project\n`,
    })
}, 60_000)
