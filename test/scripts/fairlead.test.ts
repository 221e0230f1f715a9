import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { runNode, runProgram } from '../support/run-node.ts'

const BIN = resolve('scripts/fairlead.mjs')

/** Flags under which node claims to be another version. */
const claiming = (version: string) => ['--import', `data:text/javascript,Object.defineProperty(process.versions,'node',{value:'${version}'})`]

/** A Node.js of this machine that is too old, where it has one. */
const OLD_NODE = (process.env.PATH ?? '')
  .split(delimiter)
  .map(folder => join(folder, 'node'))
  .find(path => existsSync(path) && /^v(\d|1\d|2[0-3])\./.test(execFileSync(path, ['--version'], { encoding: 'utf8' })))
if (!OLD_NODE) process.stderr.write('SKIPPED: fairlead on an old Node.js is not tried, for this machine has none\n')

/** A project's folder with a fairlead of its own, of the given code. */
let project: string
beforeEach(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'fairlead project-')))
})
afterEach(() => rm(project, { recursive: true, force: true }))

async function own(code: string): Promise<string> {
  const folder = join(project, 'node_modules/fairlead')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'fairlead.mjs'), code)
  return join(folder, 'fairlead.mjs')
}

describe('the program fairlead', () => {
  test.skipIf(!OLD_NODE)('runs on an old Node.js by the one that npm brought', async () => {
    expect(await runProgram(OLD_NODE as string, [BIN, '--version'])).toEqual({ code: 0, stdout: `${packageJson.version}\n`, stderr: '' })
    expect(await runProgram(OLD_NODE as string, [BIN, 'down', '--nmae'])).toMatchObject({ code: 2, stderr: expect.stringContaining("'--nmae'") })
  })

  test("prefers the project's Node.js, and gives it all arguments as they are", async () => {
    const program = await own('')
    await mkdir(join(project, 'node_modules/.bin'))
    await writeFile(join(project, 'node_modules/.bin/node'), '#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n', { mode: 0o755 })
    const { code, stdout } = await runNode([...claiming('24.6.3'), BIN, 'up', '--name', 'a b'], { cwd: project })
    expect({ code, stdout }).toEqual({ code: 0, stdout: `[${program}]\n[up]\n[--name]\n[a b]\n` })
  })

  test('says in one line that no Node.js is new enough', async () => {
    const alone = join(project, 'fairlead.mjs')
    await copyFile(BIN, alone)
    expect(await runNode([...claiming('20.19.0'), alone, 'up'], { cwd: project })).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: Node.js 20.19.0 is too old: fairlead needs 24.7 or newer, e.g. from npm install node-${process.platform}-${process.arch}@24\n`,
    })
  })

  test("hands over to the project's own, whose exit code is its own", async () => {
    await own('console.log(process.argv.slice(2).join()); process.exitCode = 7')
    const inside = join(project, 'services/hello')
    await mkdir(inside, { recursive: true })
    for (const cwd of [project, inside])
      expect(await runNode([BIN, 'status', '--json'], { cwd })).toEqual({ code: 7, stdout: 'status,--json\n', stderr: '' })
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('passes %s on, and waits for how that ends', async signal => {
    await own(`process.on('${signal}', () => { console.log('told'); process.exitCode = 130; clearInterval(alive) })
      const alive = setInterval(() => {}, 1_000); console.log('ready')`)
    const child = spawn(process.execPath, [BIN, 'start'], { cwd: project, stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    child.stdout.on('data', data => {
      said += data
      if (said === 'ready\n') child.kill(signal)
    })
    expect(await new Promise(done => child.once('close', code => done(code)))).toBe(130)
    expect(said).toBe('ready\ntold\n')
  })

  test("keeps compiled code beside the project's packages, and does without where it cannot", async () => {
    const cache = join(project, 'node_modules/.cache')
    await mkdir(join(project, 'node_modules'))
    await symlink(resolve('scripts'), join(project, 'node_modules/fairlead'))
    const version = { code: 0, stdout: `${packageJson.version}\n`, stderr: '' }
    // Whoever measures coverage keeps nothing.
    const ask = () => runProgram('env', ['-u', 'NODE_DISABLE_COMPILE_CACHE', process.execPath, BIN, '--version'], { cwd: project })
    expect(await ask()).toEqual(version)
    expect(await readdir(join(cache, 'fairlead'))).not.toEqual([])
    await rm(cache, { recursive: true })
    await writeFile(cache, '')
    expect(await ask()).toEqual(version)
  })

  test('ends by the signal that ended the other', async () => {
    await own("process.kill(process.pid, 'SIGKILL')")
    expect(await runNode([BIN, 'start'], { cwd: project })).toMatchObject({ code: 'SIGKILL' })
  })
})
