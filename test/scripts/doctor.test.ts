import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { ensureAuthority, issueCertificate } from '../../scripts/cluster/certificates.ts'
import { project } from '../support/acme.ts'

const MAIN = ['--disable-warning=ExperimentalWarning', resolve('scripts/fairlead.mjs'), 'doctor']

let dir: string
let server: ReturnType<typeof createServer>
/** Answers of the API server by path. Without any it says nothing to anybody. */
let answers: Record<string, object> | undefined
let asked: string[]

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-doctor-'))
  const { certificate, key } = await issueCertificate(await ensureAuthority(dir, ['localhost']), ['localhost'])
  server = createServer({ cert: certificate, key }, ({ url = '' }, response) => {
    asked.push(url)
    if (!answers) return
    const answer = answers[url]
    response.writeHead(answer ? 200 : 404).end(JSON.stringify(answer ?? { message: 'not found' }))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const cluster = (name: string, url: string) => ({ name, cluster: { server: url, 'insecure-skip-tls-verify': true } })
  const context = (name: string, to: string) => ({ name, context: { cluster: to, user: 'nobody' } })
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [cluster('here', `https://127.0.0.1:${port}`), cluster('away', 'https://127.0.0.1:9')],
    contexts: [context('kind-test', 'here'), context('kind-away', 'away'), context('production', 'here'), context('kind-lost', 'gone')],
    users: [{ name: 'nobody', user: {} }],
  }
  await writeFile(join(dir, 'config'), JSON.stringify(config))
  await install('ours', { docker: 'exit 0', kind: 'exit 0' })
  await install('other', { docker: 'exit 1' })
  await install('stopped', { docker: 'echo Error response from daemon: container is not running >&2; exit 1' })
})
beforeEach(() => {
  asked = []
  answers = serving('True')
  return () => server.closeAllConnections()
})
afterAll(async () => {
  server.close()
  await rm(dir, { recursive: true, force: true })
})

/** A folder with programs that stand in for those of the machine. */
async function install(folder: string, programs: Record<string, string>): Promise<void> {
  await mkdir(join(dir, folder))
  for (const [name, script] of Object.entries(programs)) await writeFile(join(dir, folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [...MAIN, ...args], {
    env: { PATH: join(dir, 'ours'), HOME: dir, KUBECONFIG: join(dir, 'config'), IMAGE_TAG: 'test', ...env },
    cwd: project.root,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 25_000,
  })
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)]
  return { child, ended: Promise.all([once(child, 'close'), stdout, stderr]).then(([[code], out, err]) => ({ code, stdout: out, stderr: err })) }
}

const doctor = (...args: string[]) => start(args).ended

/** An API server with one node. */
const serving = (ready: 'True' | 'False') => ({
  '/api/v1': { resources: [{ name: 'nodes', kind: 'Node', namespaced: false }] },
  '/api/v1/nodes': {
    items: [
      {
        metadata: { name: 'a' },
        status: { conditions: [{ type: 'Ready', status: ready, message: 'no CNI' }], nodeInfo: { kubeletVersion: 'v1.34.2' } },
      },
    ],
  },
})
const ON_TEST = ['--context', 'kind-test']

describe('npx fairlead doctor', () => {
  test('--help tells the options and asks nobody', async () => {
    const { code, stdout, stderr } = await start(['--help'], { KUBECONFIG: '/dev/null/none' }).ended
    expect([code, stderr]).toEqual([0, ''])
    for (const flag of ['--context <name>', '--url <url>', '--only <words>', '--json']) expect(stdout).toContain(flag)
  })

  test.each<[string[], string]>([
    [['--port', '1'], "error: unknown option '--port'; see fairlead doctor --help"],
    [['--only'], "error: option '--only <words>' argument missing; see fairlead doctor --help"],
    [['stock'], "error: too many arguments for 'doctor'. Expected 0 arguments but got 1: stock"],
    [[...ON_TEST, '--only', 'nothing'], 'error: --only nothing names no check'],
    [[...ON_TEST, '--only', 'journey,trace', '--no-journey'], 'error: --only journey,trace names no check'],
    [[...ON_TEST, '--url', 'ftp://x'], 'error: --url ftp://x is not an http or https URL'],
    [[...ON_TEST, '--url', 'x'], 'error: --url x is not an http or https URL'],
  ])('%j is refused in one line that names it', async (args, line) => {
    const { code, stdout, stderr } = await doctor(...args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr.trim().split('\n')).toEqual([expect.stringContaining(line)])
  })

  test('a cluster that is not kind is asked for its ingress', async () => {
    const { code, stderr } = await start(['--context', 'production'], { PLATFORM: 'bundled' }).ended
    expect([code, stderr]).toEqual([2, 'error: --url is missing: where is the ingress reached?\n'])
  })

  test('a kind cluster that npx fairlead up did not make is asked for its ingress, which is not that of another', async () => {
    const { code, stderr } = await start([...ON_TEST, '--only', 'nodes'], { PATH: join(dir, 'other') }).ended
    expect([code, stderr]).toEqual([2, 'error: --url is missing: where is the ingress reached?\n'])
  })

  test.each(['nowhere', 'stopped'])('where docker cannot tell (%s), the ingress is taken to be where npx fairlead up puts it', async path => {
    const { code } = await start([...ON_TEST, '--only', 'nodes'], { PATH: join(dir, path) }).ended
    expect(code).toBe(0)
  })

  test.each<[string, string[], Record<string, string>, RegExp]>([
    [
      'a context that is not there',
      ['--context', 'kind-gone'],
      {},
      /^error: the kubeconfig has no context 'kind-gone'; it has kind-test, kind-away, production, kind-lost\n {2}do: npx fairlead up --name gone\n$/,
    ],
    ['a setting that is wrong', ON_TEST, { PLATFORM: 'none' }, /^error: the environment has 1 problem:\n {2}PLATFORM is wrong/],
    ['a kubeconfig that is not there', ON_TEST, { KUBECONFIG: '/dev/null/none' }, /^error: .*kubeconfig/],
    ['a context whose cluster is not there', ['--context', 'kind-lost'], {}, /^error: .*kind-lost/],
  ])('%s is told without a stack trace', async (_, args, env, says) => {
    const { code, stdout, stderr } = await start(args, env).ended
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(says)
    expect(stderr).not.toMatch(/^ +at /m)
  })

  test('ends with 0 when all that it was to look at works', async () => {
    const { code, stdout, stderr } = await doctor(...ON_TEST, '--only', 'nod,nothing')
    expect([code, stdout]).toEqual([0, ''])
    expect(stderr).toMatch(/^✓ nodes: 1 ready, Kubernetes v1\.34\.2 \d+\.\d s\nall 1 checks passed\n$/)
  })

  test('ends with 1 when something does not work, and says what to do and where to begin', async () => {
    answers = serving('False')
    const { code, stdout, stderr } = await doctor(...ON_TEST, '--only', 'nodes,workload identity,certificate', '--url', 'http://127.0.0.1:9')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^✗ nodes: node a is not ready: no CNI \d+\.\d s\n {4}do: kubectl --context kind-test describe node a\n/m)
    expect(stderr).toMatch(/^- certificate: no TLS address is known/m)
    expect(stderr).toMatch(/^2 of 3 checks failed; begin with nodes\n$/m)
  })

  test('says commands for the cluster and with the settings that were chosen, to be pasted as they are', async () => {
    const { port } = server.address() as AddressInfo
    const args = [...ON_TEST, '--only', 'certificate', '--url', `https://127.0.0.1:${port}`]
    const { stderr } = await start(args, { HOST: 'other.localhost', RUNBOOKS: "https://example.org/it's" }).ended
    expect(stderr).toContain(`the certificate of 127.0.0.1:${port} is for localhost, not for other.localhost: Secret ingress/acme-tls is not there`)
    expect(stderr).toContain(
      "    do: HOST=other.localhost IMAGE_TAG=test RUNBOOKS='https://example.org/it'\\''s' npx fairlead secrets --context kind-test\n    see: https://example.org/it's/certificate-expires.md\n",
    )
  })

  test('--json gives the results on standard output', async () => {
    answers = serving('False')
    const { code, stdout } = await doctor(...ON_TEST, '--only', 'nodes', '--json')
    const nodes = {
      name: 'nodes',
      outcome: 'failed',
      message: 'node a is not ready: no CNI',
      remedy: { commands: ['kubectl --context kind-test describe node a'] },
      ms: expect.any(Number),
    }
    expect(JSON.parse(stdout)).toEqual({ context: 'kind-test', healthy: false, checks: [nodes] })
    expect(code).toBe(1)
  })

  test('says that the API server does not answer', async () => {
    const { code, stderr } = await doctor('--context', 'kind-away', '--only', 'nodes')
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^✗ nodes: the API server of 'kind-away' does not answer \(ECONNREFUSED\) \d+\.\d s\n {4}do: kubectl --context kind-away get nodes\n1 of 1 checks failed; begin with nodes\n$/,
    )
  })

  test('ends with 130 when it is interrupted', async () => {
    answers = undefined
    const { child, ended } = start([...ON_TEST, '--only', 'nodes'])
    await vi.waitFor(() => expect(asked).not.toEqual([]), { timeout: 20_000, interval: 5 })
    child.kill('SIGINT')
    const { code, stdout, stderr } = await ended
    expect([code, stdout]).toEqual([130, ''])
    expect(stderr).toBe('\nfairlead doctor was interrupted\n')
  })
})
