import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { copyRepository } from '../support/repository-copy.ts'
import { runNode, runProgram } from '../support/run-node.ts'

const BIN = resolve('scripts/fairlead.mjs')

/** Commands whose examples need neither a cluster nor docker: they work in a repository, one after the other. */
const ALONE = ['create', 'add', 'synth', 'charts', 'diagram', 'proto', 'check']
/** Those that work until nobody answers: the API server, docker, kind, or the database of start. */
const UNANSWERED = ['up', 'deploy', 'down', 'status', 'doctor', 'logs', 'outbox', 'secrets', 'images']
/** Those that a test of their own runs: test/shop/start.test.ts, test/slow/commands.slow.ts, test/slow/scaffold.slow.ts. */
const ELSEWHERE = ['start', 'fuzz', 'token']

async function examplesOf(name: string): Promise<string[]> {
  const { stdout } = await runNode([BIN, name, '--help'])
  const [, text = ''] = /\nExamples:\n((?: {2}.*\n)+)/.exec(`${stdout}\n`) ?? []
  return text.replaceAll('\\\n', '').trim().split(/\n +/)
}

let dir: string
let copy: string
beforeAll(async () => {
  copy = await copyRepository()
  dir = await mkdtemp(join(tmpdir(), 'fairlead-examples-'))
  const packages = resolve(copy, '../fairlead/dist/packages')
  await mkdir(packages, { recursive: true })
  for (const name of ['fairlead-chassis', 'fairlead-infra', 'fairlead']) await writeFile(join(packages, `${name}-1.0.0.tgz`), '')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'away', cluster: { server: 'https://127.0.0.1:9' } }],
    contexts: ['NAME', 'kind-fairlead'].map(name => ({ name, context: { cluster: 'away', user: 'nobody' } })),
    users: [{ name: 'nobody', user: {} }],
  }
  await writeFile(join(dir, 'config'), JSON.stringify(config))
  await mkdir(join(dir, 'bin'))
  for (const name of ['docker', 'kind']) await writeFile(join(dir, 'bin', name), '#!/bin/sh\necho nobody answers >&2\nexit 1\n', { mode: 0o755 })
})
afterAll(async () => {
  for (const folder of [dir, copy]) await rm(folder, { recursive: true, force: true })
})

/** As it is printed, but for what stands for something of the reader's. */
function run(example: string) {
  const line = example.replace(/\bSERVICE\b/, 'user').replace(/\bID\b/g, '0193c5f4-0000-7000-8000-000000000000')
  const program = `npx() { shift; '${process.execPath}' --disable-warning=ExperimentalWarning '${BIN}' "$@"; }\n${line}`
  return runProgram('bash', ['-c', program], { cwd: copy, env: { KUBECONFIG: join(dir, 'config'), PATH: `${join(dir, 'bin')}:${process.env.PATH}` } })
}

test('every command is here', async () => {
  const { stdout } = await runNode([BIN, '--help'])
  const names = [...(stdout.split('Commands:')[1] ?? '').matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name)
  expect([...ALONE, ...UNANSWERED, ...ELSEWHERE].sort()).toEqual(names.sort())
})

describe('every example that --help prints', () => {
  test.each(ALONE)(
    'of %s works',
    async name => {
      for (const example of await examplesOf(name)) {
        await rm(join(copy, 'acme'), { recursive: true, force: true })
        expect({ example, ...(await run(example)) }).toMatchObject({ example, code: 0 })
      }
    },
    120_000,
  )

  test.each(UNANSWERED)(
    'of %s works until nobody answers',
    async name => {
      for (const example of await examplesOf(name)) {
        const { code, stderr } = await run(example)
        expect({ example, code }, stderr).toEqual({ example, code: 1 })
        expect(stderr, example).toMatch(/nobody answers|does not answer|fairlead start/)
      }
    },
    120_000,
  )
})
