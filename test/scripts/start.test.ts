import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { isAlive, processTree } from '../support/process-tree.ts'

const MAIN = ['--disable-warning=ExperimentalWarning', 'scripts/start.ts']

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-start-'))
  await chmod(dir, 0o755)
})
afterAll(() => rm(dir, { recursive: true, force: true }))

interface Started {
  child: ChildProcess
  /** What came so far. */
  stdout: () => string
  stderr: () => string
  ended: Promise<number | null>
}

function start(...args: string[]): Started {
  const child = spawn(process.execPath, [...MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const out = { stdout: '', stderr: '' }
  child.stdout?.on('data', chunk => {
    out.stdout += chunk
  })
  child.stderr?.on('data', chunk => {
    out.stderr += chunk
  })
  return { child, stdout: () => out.stdout, stderr: () => out.stderr, ended: new Promise(resolve => child.once('close', code => resolve(code))) }
}

async function untilUp(started: Started): Promise<void> {
  await vi.waitFor(() => expect(started.stderr()).toContain('Ctrl-C stops everything'), { timeout: 40_000, interval: 50 })
}

/** The processes below npm start, and the postmaster, which has left its tree. */
async function everyProcess(started: Started): Promise<number[]> {
  const { stdout } = await promisify(execFile)('pgrep', ['-f', `postgres -D ${dir}`]).catch(() => ({ stdout: '' }))
  return [...processTree(started.child.pid as number), ...stdout.trim().split('\n').map(Number)]
}

const runWalk = async (lines: string) => (await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', lines], { timeout: 30_000 })).stdout

describe('npm start', () => {
  test('prints a walk that works as it stands, leaves no process on Ctrl-C, and keeps the data for the next start', async () => {
    const first = start('--data-dir', dir)
    await untilUp(first)
    const processes = await everyProcess(first)
    expect(processes.length).toBeGreaterThanOrEqual(4)
    const answers = (await runWalk(`${first.stdout()}\necho "EMAIL $EMAIL"`)).trim().split('\n')
    expect(answers.filter(line => line.startsWith('{')).map(line => Object.keys(JSON.parse(line)))).toHaveLength(6)
    const [registered, products, order, credit, cancelled, creditAfter] = answers.filter(line => line.startsWith('{')).map(line => JSON.parse(line))
    expect(registered.name).toBe('Ada')
    expect(products.products.map((product: { name: string }) => product.name)).toContain('iPhone 17')
    expect(order.state).toBe('confirmed')
    expect(credit.reserved).toEqual(order.total)
    expect(cancelled.state).toBe('cancelled')
    expect(creditAfter.reserved.amount).toBe(0)

    first.child.kill('SIGINT')
    expect(await first.ended).toBe(0)
    expect(processes.filter(isAlive)).toEqual([])

    const second = start('--data-dir', dir)
    await untilUp(second)
    const email = answers.at(-1)?.replace('EMAIL ', '')
    const logIn = await fetch('http://127.0.0.1:8080/sessions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password: 'correct horse battery' }),
    })
    expect(logIn.status).toBe(201)
    second.child.kill('SIGTERM')
    expect(await second.ended).toBe(0)
  }, 120_000)

  test('interrupted while it starts, leaves no process', async () => {
    const started = start('--data-dir', dir)
    await vi.waitFor(() => expect(started.stderr()).toContain('Postgres'), { timeout: 30_000, interval: 10 })
    const processes = await everyProcess(started)
    started.child.kill('SIGINT')
    expect(await started.ended).toBe(0)
    expect(processes.filter(isAlive)).toEqual([])
  }, 60_000)

  test('names the port that is taken, and the service that wants it', async () => {
    const squatter = createServer()
    await new Promise<void>(resolve => squatter.listen(8081, '127.0.0.1', resolve))
    try {
      const started = start('--data-dir', dir)
      expect(await started.ended).toBe(1)
      expect(started.stderr()).toMatch(/error: order cannot listen on 127\.0\.0\.1:8081: the port is taken/)
      expect(started.stderr()).not.toMatch(/\n\s+at /)
    } finally {
      await new Promise(resolve => squatter.close(resolve))
    }
  }, 60_000)

  test('--help tells the options', async () => {
    const started = start('--help')
    expect(await started.ended).toBe(0)
    expect(started.stdout()).toContain('--data-dir DIR')
  })

  test('an unknown option is named in one line', async () => {
    const started = start('--port', '1')
    expect(await started.ended).toBe(2)
    expect(started.stderr().trim().split('\n')).toEqual([expect.stringContaining("'--port'")])
  })
})
