import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, watch, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runNode } from '../support/run-node.ts'

const BIN = resolve('scripts/fairlead.mjs')

/** Commands that load the app before they do anything else, with the words that they need. */
const LOADING: Record<string, string[]> = {
  add: ['service', 'gift'],
  start: [],
  up: [],
  deploy: ['--context', 'kind-silent'],
  down: ['--context', 'kind-silent'],
  status: [],
  doctor: [],
  logs: ['stock'],
  proto: [],
  outbox: ['list'],
  secrets: ['--context', 'kind-silent'],
  images: [],
  synth: [],
  token: ['ada'],
  charts: [],
  diagram: [],
  check: [],
  fuzz: [],
}

let dir: string
/** An API server that takes connections and says nothing. */
let server: Server
const sockets = new Set<Socket>()

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-interrupt-'))
  server = createServer(socket => sockets.add(socket.on('error', () => {})))
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'silent', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
    contexts: [{ name: 'kind-silent', context: { cluster: 'silent', user: 'nobody' } }],
    users: [{ name: 'nobody', user: {} }],
  }
  await writeFile(join(dir, 'config'), JSON.stringify(config))
  await mkdir(join(dir, 'project/infra'), { recursive: true })
  await writeFile(join(dir, 'project/infra/main.ts'), "setInterval(() => {}, 1_000)\nprocess.stderr.write('loads\\n')\nawait new Promise(() => {})\n")
  await mkdir(join(dir, 'bin'))
  for (const name of ['docker', 'kind']) await writeFile(join(dir, 'bin', name), `#!/bin/sh\n: >${dir}/asked-$PPID\nexec sleep 60\n`, { mode: 0o755 })
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  server.close()
  await rm(dir, { recursive: true, force: true })
})

function start(args: string[], { cwd = 'test/support/acme', env = {} }: { cwd?: string; env?: Record<string, string> } = {}) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', BIN, ...args], {
    cwd,
    env: { ...process.env, KUBECONFIG: join(dir, 'config'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 25_000,
    killSignal: 'SIGKILL',
  })
  const said = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const) child[stream].setEncoding('utf8').on('data', text => (said[stream] += text))
  return { child, ended: once(child, 'close').then(([code]) => ({ code, ...said })) }
}

test('every command that could be interrupted is tried', async () => {
  const { stdout } = await runNode([BIN, '--help'])
  const names = [...(stdout.split('Commands:')[1] ?? '').matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name)
  // It writes some small files and is done.
  expect(names.filter(name => name !== 'create').sort()).toEqual(Object.keys(LOADING).sort())
})

describe.each(Object.entries(LOADING))('fairlead %s', { concurrent: true }, (name, words) => {
  test.each(['SIGINT', 'SIGTERM'] as const)('ends with 130 on %s while it loads the app', async signal => {
    const { child, ended } = start([name, ...words], { cwd: join(dir, 'project') })
    await once(child.stderr, 'data')
    child.kill(signal)
    expect(await ended).toEqual({ code: 130, stdout: '', stderr: `loads\n\nfairlead ${name} was interrupted\n` })
  })
})

describe.each([['status'], ['doctor', '--url', 'http://127.0.0.1:9'], ['secrets'], ['logs', 'booking'], ['outbox', 'list'], ['deploy'], ['down']])(
  'fairlead %s %s',
  (...words) => {
    test('ends with 130 at once, whatever the API server does', async () => {
      const asked = once(server, 'connection')
      const { child, ended } = start([...words.filter(Boolean), '--context', 'kind-silent'])
      await asked
      child.kill('SIGINT')
      expect(await ended).toEqual({ code: 130, stdout: '', stderr: `\nfairlead ${words[0]} was interrupted\n` })
    })
  },
)

test.each(['up', 'images', 'down'])('fairlead %s ends with 130 at once, whatever docker and kind do', async name => {
  const { child, ended } = start([name], { env: { PATH: `${join(dir, 'bin')}:/bin:/usr/bin` } })
  const stop = new AbortController()
  for await (const { filename } of watch(dir, { signal: stop.signal })) if (filename === `asked-${child.pid}`) break
  stop.abort()
  child.kill('SIGINT')
  expect(await ended).toEqual({ code: 130, stdout: '', stderr: `\nfairlead ${name} was interrupted\n` })
})
