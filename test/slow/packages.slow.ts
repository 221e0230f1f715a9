import { spawn } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import packageJson from '../../package.json' with { type: 'json' }
import { runNode, runProgram } from '../support/run-node.ts'

const PACKAGES = resolve('dist/packages')
const tarballs = ['chassis', 'infra'].map(name => join(PACKAGES, `fairlead-${name}-${packageJson.version}.tgz`))
const bin = (name: string) => resolve('node_modules/.bin', name)

/** A repository of somebody else's, with a blank in its path and nothing of this one but the tarballs. */
let consumer: string

beforeAll(async () => {
  expect(await runProgram('npm', ['run', '--silent', 'pack'], { timeoutMs: 300_000 })).toMatchObject({ code: 0 })
  const outside = await mkdtemp(join(tmpdir(), 'fairlead consumer-'))
  consumer = outside
  await cp('test/slow/consumer', consumer, { recursive: true })
  const manifest = { name: 'acme', version: '1.2.3', private: true, type: 'module', allowScripts: { esbuild: false } }
  await writeFile(join(consumer, 'package.json'), JSON.stringify(manifest))
  const { dependencies, devDependencies } = packageJson as { dependencies: Record<string, string>; devDependencies: Record<string, string> }
  const peers = ['zod', 'koa', 'prom-client', '@opentelemetry/api', 'cdk8s', 'constructs', 'typescript', '@types/node']
  const wanted = peers.map(name => `${name}@${dependencies[name] ?? devDependencies[name]}`)
  const installed = await runProgram('npm', ['install', '--no-audit', '--no-fund', ...tarballs, ...wanted], { cwd: consumer, timeoutMs: 300_000 })
  expect(installed, installed.stderr).toMatchObject({ code: 0 })
}, 650_000)
afterAll(() => rm(consumer, { recursive: true, force: true }))

describe.each([
  ['@fairlead/chassis', 'chassis', 0],
  ['@fairlead/infra', 'kit', 1],
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
      expect(path).not.toMatch(/(?<!\.d)\.ts$|test/)
      if (!path.endsWith('.js')) continue
      expect(files).toEqual(expect.arrayContaining([path.replace(/js$/, 'd.ts'), `${path}.map`]))
      expect(JSON.parse(await readFile(`${path}.map`, 'utf8')).sourcesContent[0].length).toBeGreaterThan(0)
    }
  })
})

describe('a repository outside of this one', () => {
  test('compiles, the declarations of the packages included', async () => {
    expect(await runProgram(join(consumer, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: consumer })).toMatchObject({ code: 0, stdout: '' })
  }, 120_000)

  test('is synthesized, with its own name and version in every object and no name of the shop', async () => {
    expect(await runNode(['infra/main.ts'], { cwd: consumer })).toMatchObject({ code: 0, stderr: '' })
    const text = await readFile(join(consumer, 'dist/0000-acme.k8s.yaml'), 'utf8')
    const objects = parseAllDocuments(text).map(document => document.toJS())
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(expect.arrayContaining(['Namespace acme', 'Deployment hello']))
    for (const { metadata } of objects) expect(metadata.labels['app.kubernetes.io/version']).toMatch(/^(1\.2\.3|17)$/)
    expect(text).not.toMatch(/\bshop\b/i)
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
})
