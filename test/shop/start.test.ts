import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { system } from '../../infra/system.ts'
import { graphPorts } from '../../scripts/local/local-system.ts'
import { isFree } from '../../services/chassis/local/ports.ts'
import { order } from '../../services/order/service.ts'
import { user } from '../../services/user/service.ts'
import { isAlive, processesOf, signalAll } from '../support/process-tree.ts'
import { copyRepository } from '../support/repository-copy.ts'

const QUICKLY = { timeout: 40_000, interval: 2 }
const MAIN = ['--disable-warning=ExperimentalWarning', 'scripts/fairlead.mjs', 'start']

let dir: string
beforeAll(async () => {
  // npm start has the ports of the graph; another one that runs would make every test here fail in a way that is hard to read.
  for (const port of [user, order].flatMap(service => Object.values(graphPorts(service)))) {
    if (!(await isFree(port))) throw new Error(`127.0.0.1:${port} is taken; stop what listens there, perhaps npm start, and run this again`)
  }
})
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fairlead-start-'))
  await chmod(dir, 0o755)
})
afterEach(async () => {
  // Only a failed test leaves something.
  signalAll(processesOf(dir), 'SIGKILL')
  await rm(dir, { recursive: true, force: true })
})

interface Started {
  child: ChildProcess
  /** What came so far. */
  stdout: () => string
  stderr: () => string
  ended: Promise<number | null>
}

const start = (...args: string[]): Started => startWith({}, ...args)

const startIn = (cwd: string, ...args: string[]): Started => startWith({ cwd }, ...args)

function startWith({ cwd = '.', env = {} }: { cwd?: string; env?: Record<string, string> }, ...args: string[]): Started {
  // A process group of its own, as a terminal gives it.
  const child = spawn(process.execPath, [...MAIN, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const out = { stdout: '', stderr: '' }
  child.stdout?.on('data', chunk => {
    out.stdout += chunk
  })
  child.stderr?.on('data', chunk => {
    out.stderr += chunk
  })
  return { child, stdout: () => out.stdout, stderr: () => out.stderr, ended: new Promise(resolve => child.once('close', code => resolve(code))) }
}

/** Ctrl-C: the terminal interrupts the whole group, Postgres's tools and migrations too. */
const interrupt = ({ child }: Started) => process.kill(-(child.pid as number), 'SIGINT')

/** Waits for a line, but not for a process that has ended. */
async function untilSays(started: Started, text: string): Promise<void> {
  await Promise.race([
    vi.waitFor(() => expect(started.stderr()).toContain(text), { timeout: 40_000, interval: 5 }),
    started.ended.then(code => {
      if (!started.stderr().includes(text)) throw new Error(`npm start ended with ${code}: ${started.stderr()}`)
    }),
  ])
}

const untilUp = (started: Started) => untilSays(started, 'Ctrl-C stops everything')

const paste = async (lines: string) => (await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', lines], { timeout: 30_000 })).stdout

/** The same where every call has to be answered 2xx. */
const pasteStrictly = (lines: string) => paste(`curl() { command curl --fail-with-body "$@"; }\n${lines}`)

const logIn = (email: string, password: string) =>
  fetch('http://127.0.0.1:8080/sessions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password }),
    signal: AbortSignal.timeout(10_000),
  })

describe('npm start', () => {
  test('prints the journey as lines that work as they stand, leaves no process on Ctrl-C, and keeps the data for the next start', async () => {
    const first = start('--data-dir', dir)
    await untilUp(first)
    // npm start itself, two services, and Postgres with its workers.
    expect(processesOf(dir).length).toBeGreaterThanOrEqual(4)
    // Each service keeps its compiled code beside that of npm start.
    const kept = `NODE_COMPILE_CACHE=${resolve('node_modules/.cache/fairlead')}\0`
    const environments = await Promise.all(processesOf(dir).map(pid => readFile(`/proc/${pid}/environ`, 'utf8')))
    expect(environments.filter(text => text.includes(kept))).toHaveLength(system.services.length)
    const answers = (await pasteStrictly(`${first.stdout()}printf '"%s"\n' "$PASSWORD"`))
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const [registered, session, products, placed, order, credit, cancelled, creditAfter, password] = answers
    expect(answers).toHaveLength(9)
    expect(session).toMatchObject({ tokenType: 'Bearer' })
    expect(registered).toMatchObject({ name: 'Ada', email: expect.stringMatching(/^ada-\d+@example\.org$/) })
    expect(products.products.map((product: { name: string }) => product.name)).toContain('iPhone 17')
    expect(order).toMatchObject({ state: 'confirmed', items: [{ sku: 'iphone-17', quantity: 1 }], total: { amount: 94_900, currency: 'EUR' } })
    expect(placed).toEqual(order)
    expect(credit).toMatchObject({ reserved: order.total, available: { amount: 5_100 } })
    expect(cancelled).toEqual({ ...order, state: 'cancelled' })
    expect(creditAfter).toMatchObject({ reserved: { amount: 0 }, available: credit.limit })

    interrupt(first)
    expect(await first.ended).toBe(130)
    expect(processesOf(dir)).toEqual([])

    const second = start('--data-dir', dir)
    await untilUp(second)
    expect((await logIn(registered.email, password)).status).toBe(201)
    second.child.kill('SIGTERM')
    expect(await second.ended).toBe(130)
    expect(processesOf(dir)).toEqual([])
  }, 120_000)

  test('leaves no process when its terminal is gone', async () => {
    const started = start('--data-dir', dir)
    await untilUp(started)
    started.child.stdout?.destroy()
    started.child.stderr?.destroy()
    started.child.kill('SIGHUP')
    expect(await started.ended).toBe(130)
    expect(processesOf(dir)).toEqual([])
  }, 60_000)

  test.each([
    ['makes the database', async () => vi.waitFor(async () => expect(await readdir(join(dir, 'postgres'))).toContain('data.part'), QUICKLY)],
    ['starts Postgres', async () => vi.waitFor(async () => expect(await readdir(join(dir, 'postgres'))).toContain('postgres.log'), QUICKLY)],
    ['migrates', async (started: Started) => untilSays(started, 'Postgres')],
    ['starts the first service', async (started: Started) => untilSays(started, 'databases, migrations')],
    ['starts the last service', async (started: Started) => untilSays(started, 'user on 127.0.0.1')],
  ])(
    'interrupted while it %s, it ends with 130 and leaves no process',
    async (_, arrives) => {
      const started = start('--data-dir', dir)
      await arrives(started)
      interrupt(started)
      expect(await started.ended).toBe(130)
      expect(started.stderr()).not.toContain('error:')
      expect(processesOf(dir)).toEqual([])
    },
    60_000,
  )

  test.each([
    [8080, 'user'],
    [8081, 'order'],
    [9080, 'user'],
    [9081, 'order'],
  ])('names the taken port %i and that %s wants it, and has started nothing', async (port, service) => {
    const squatter = createServer()
    await new Promise<void>(resolve => squatter.listen(port, '127.0.0.1', resolve))
    try {
      const started = start('--data-dir', dir)
      expect(await started.ended).toBe(1)
      const [line = '', ...more] = started.stderr().trimEnd().split('\n')
      expect(line).toContain(`error: ${service} cannot listen on 127.0.0.1:${port}: pid ${process.pid} holds it (`)
      expect(line).toMatch(/node.*\); stop that, or start with --port-offset$/)
      expect(more).toEqual([])
      expect(await readdir(dir)).toEqual([])
    } finally {
      await new Promise(resolve => squatter.close(resolve))
    }
  })

  test('started again after a kill -9, it ends what that left behind and comes up', async () => {
    const first = start('--data-dir', dir)
    await untilUp(first)
    first.child.kill('SIGKILL')
    await first.ended
    const orphans = processesOf(dir)
    expect(orphans.length).toBeGreaterThanOrEqual(3)

    const second = start('--data-dir', dir)
    await untilUp(second)
    for (const name of ['user', 'order'])
      expect(second.stderr()).toMatch(new RegExp(`^ended ${name} \\(pid \\d+\\), which an earlier start left behind$`, 'm'))
    expect(orphans.filter(isAlive)).toEqual([])
    interrupt(second)
    expect(await second.ended).toBe(130)
    expect(processesOf(dir)).toEqual([])
  }, 120_000)

  test('runs beside another one with --port-offset and a folder of its own, and is refused in the same folder', async () => {
    const first = start('--data-dir', dir)
    await untilUp(first)
    const same = start('--data-dir', dir, '--port-offset', '100')
    expect(await same.ended).toBe(1)
    expect(same.stderr()).toBe(
      `error: fairlead start runs in ${dir} already, with pid ${first.child.pid}: stop it, or give this one --data-dir and --port-offset\n`,
    )
    const second = start('--data-dir', join(dir, 'second'), '--port-offset', '100')
    await untilUp(second)
    expect(second.stdout()).toContain('http://127.0.0.1:8180')
    expect(second.stdout()).not.toContain('127.0.0.1:8080')
    const answers = await pasteStrictly(second.stdout())
    expect(answers.trim().split('\n')).toHaveLength(8)
    for (const started of [second, first]) {
      interrupt(started)
      expect(await started.ended).toBe(130)
    }
    expect(processesOf(dir)).toEqual([])
  }, 120_000)

  test.each([
    ['migrates', "import './broken.ts'", 'migrating order failed'],
    ['starts', "if (process.argv[2] !== 'migrate') await import('./broken.ts')", 'order ended with 1'],
  ])(
    'names the error and the place of a service that cannot be loaded when it %s, and stops the others',
    async (_, load, what) => {
      const copy = await copyRepository()
      onTestFinished(() => rm(copy, { recursive: true, force: true }))
      await writeFile(join(copy, 'services/order/broken.ts'), 'export const broken = {\n')
      const main = join(copy, 'services/order/main.ts')
      await writeFile(main, `${load}\n${await readFile(main, 'utf8')}`)
      const started = startIn(copy, '--data-dir', dir)
      expect(await started.ended).toBe(1)
      expect(started.stderr()).toMatch(
        new RegExp(`^error: ${what}: SyntaxError \\[ERR_INVALID_TYPESCRIPT_SYNTAX\\]: [^\n]+ \\(services/order/broken\\.ts:\\d+\\)$`, 'm'),
      )
      expect(started.stderr()).not.toContain('    at ')
      expect(processesOf(dir)).toEqual([])
    },
    60_000,
  )

  test('starts a system without a journey, and says that it has none', async () => {
    const copy = await copyRepository()
    onTestFinished(() => rm(copy, { recursive: true, force: true }))
    const main = join(copy, 'infra/main.ts')
    await writeFile(main, (await readFile(main, 'utf8')).replace('journey, ', ''))
    const started = startIn(copy, '--data-dir', dir)
    await untilUp(started)
    expect(started.stderr()).toContain('\nthe system has no journey (infra/journey.ts), so there are no lines to try\n')
    expect(started.stdout()).toBe('')
    interrupt(started)
    expect(await started.ended).toBe(130)
  }, 60_000)

  test('gives the services their settings from the environment', async () => {
    const trace = join(dir, 'trace')
    await mkdir(trace)
    const env = {
      USER_CREDIT_LIMIT: '1234',
      LOG_LEVEL: 'error',
      NODE_OPTIONS: `--trace-event-categories=node.bootstrap --trace-event-file-pattern=${trace}/\${pid}`,
    }
    const started = startWith({ env }, '--data-dir', dir)
    await untilUp(started)
    const answers = (await paste(started.stdout())).trim().split('\n')
    // Too little for the journey's order.
    expect(answers.map(line => JSON.parse(line))).toContainEqual(expect.objectContaining({ limit: { amount: 1234, currency: 'EUR' } }))
    interrupt(started)
    expect(await started.ended).toBe(130)
    // Every service says so at info when it stops.
    expect(await readFile(join(dir, 'order.log'), 'utf8')).not.toContain('"msg":"drained"')
    expect((await readdir(trace)).length).toBeGreaterThanOrEqual(2)
  }, 60_000)

  test('names every setting that is wrong before it starts anything', async () => {
    const started = startWith({ env: { USER_CREDIT_LIMIT: '-1', LOG_LEVEL: 'loud' } }, '--data-dir', dir)
    expect(await started.ended).toBe(1)
    expect(started.stderr()).toMatch(/USER_CREDIT_LIMIT is wrong.*: it takes the credit of a new user in minor units, a whole number/)
    expect(started.stderr()).toMatch(/LOG_LEVEL is wrong.*: it takes debug, info, warn or error/)
    expect(started.stderr()).not.toContain('    at ')
    expect(await readdir(dir)).toEqual([])
  })

  test('refuses what looks like a setting of a service, and names the one that it may mean', async () => {
    const started = startWith({ env: { USER_CREDITLIMIT: '1' } }, '--data-dir', dir)
    expect(await started.ended).toBe(1)
    expect(started.stderr()).toContain('USER_CREDITLIMIT is no setting of user; did you mean USER_CREDIT_LIMIT?')
    expect(await readdir(dir)).toEqual([])
  })

  test('tells in one line that it cannot make its folder', async () => {
    const started = start('--data-dir', '/dev/null/data')
    expect(await started.ended).toBe(1)
    expect(started.stderr()).toMatch(/^error: .*\/dev\/null\/data'?\n$/)
  })

  test('--help tells the options', async () => {
    const started = start('--help')
    expect(await started.ended).toBe(0)
    expect(started.stdout()).toContain('--data-dir <folder>')
    expect(started.stderr()).toBe('')
  })

  test.each([
    [['--port', '1'], "'--port'"],
    [['--port-offset', '60000'], '--port-offset 60000'],
    [['--data-dir'], "'--data-dir"],
    [['shop'], 'got 1: shop'],
  ])('%j is refused in one line that names it', async (args, named) => {
    const started = start(...args)
    expect(await started.ended).toBe(2)
    expect(started.stderr().trim().split('\n')).toEqual([expect.stringContaining(named)])
    expect(started.stdout()).toBe('')
  })
})
