import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'
import { freePort } from '../../services/chassis/local/ports.ts'

const PATH = `${process.env.PATH}:/usr/sbin`
const env = { ...process.env, PATH }
const run = promisify(execFile)

/** Whether Knot DNS is installed: `apt-get install knot`. */
export const hasKnot = spawnSync('knotd', ['--version'], { env }).status === 0

export interface Knot {
  host: string
  port: number
  /** Replaces all records of `example`, a line each, in the syntax of zone files. */
  serve(records: readonly string[]): Promise<void>
  /** As if its machine were gone. */
  kill(): Promise<void>
  start(): Promise<void>
}

const configOf = (dir: string, port: number) => `server:
    rundir: "${dir}"
    listen: 127.0.0.1@${port}
database:
    storage: "${dir}"
log:
  - target: stderr
    any: error
zone:
  - domain: example
    storage: "${dir}"
    file: example.zone
    journal-content: none
`

/** A Knot DNS server that is authoritative for `example`. */
export async function startKnot(records: readonly string[]): Promise<Knot> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-knot-'))
  const port = await freePort()
  const config = join(dir, 'knot.conf')
  let serial = 0
  let process: ChildProcess | undefined
  const control = (...args: string[]) => run('knotc', ['--socket', join(dir, 'knot.sock'), '--blocking', ...args], { env, timeout: 10_000 })
  const write = (all: readonly string[]) =>
    writeFile(
      join(dir, 'example.zone'),
      ['$ORIGIN example.', '$TTL 1', `@ SOA ns root ${++serial} 60 60 600 1`, '@ NS ns', 'ns A 127.0.0.1', ...all, ''].join('\n'),
    )
  const kill = async () => {
    if (!process || process.exitCode !== null || process.signalCode !== null) return
    const ended = new Promise(resolve => process?.once('exit', resolve))
    process.kill('SIGKILL')
    await ended
  }
  const start = async () => {
    process = spawn('knotd', ['--config', config], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    for (let tries = 0; ; tries++) {
      if (
        await control('zone-status', 'example').then(
          () => true,
          () => false,
        )
      )
        return
      if (tries === 100) throw new Error('knotd does not answer')
      await sleep(100)
    }
  }
  await writeFile(config, configOf(dir, port))
  await write(records)
  onTestFinished(async () => {
    await kill()
    await rm(dir, { recursive: true, force: true })
  })
  await start()
  return {
    host: '127.0.0.1',
    port,
    serve: async all => {
      await write(all)
      if (process?.exitCode === null && process.signalCode === null) await control('zone-reload', 'example')
    },
    kill,
    start,
  }
}
