import { execFile, spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, startPostgres } from '@fairlead/chassis/local'
import { order } from '../services/order/service.ts'
import { user } from '../services/user/service.ts'
import { loadApp } from './app.ts'
import { parseFlags, usageError, wholeNumber } from './cluster/options.ts'
import { prepareLocalSystem } from './local/local-system.ts'
import { runCommand } from './terminal.ts'

const { system } = await loadApp()

const HELP = `npm run fuzz [-- options]

Runs Schemathesis (a Python program: pip install schemathesis) with all its checks against both services' /openapi.json, on a
database of its own. Exits 1 when a check fails, 2 without the program.

  --program PATH       the program (default: schemathesis)
  --max-examples N     cases an operation and phase (default: 100)
  --help               this text
`

const PASSWORD = 'correct horse battery'

/** One run: which operations, with whose token. Logging out has its own, because it ends the session of the others. */
interface Run {
  title: string
  url: string
  token: string
  filter: string[]
}

const fuzz = (program: string, maxExamples: string, { title, url, token, filter }: Run): Promise<boolean> =>
  new Promise((resolve, reject) => {
    process.stderr.write(`\n== ${title}\n`)
    const args = [
      'run',
      `${url}/openapi.json`,
      '--checks',
      'all',
      '--max-examples',
      maxExamples,
      '--header',
      `Authorization: Bearer ${token}`,
      ...filter,
    ]
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], timeout: 600_000 })
    child.once('error', reject)
    child.once('exit', code => resolve(code === 0))
  })

async function logIn(url: string): Promise<string> {
  const credentials = { email: `fuzz-${process.hrtime.bigint()}@example.org`, password: PASSWORD }
  const post = (path: string, body: object) =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5_000),
    })
  await post('/users', { ...credentials, name: 'Ada' })
  return ((await (await post('/sessions', credentials)).json()) as { accessToken: string }).accessToken
}

async function run(program: string, maxExamples: string, signal: AbortSignal): Promise<boolean> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-fuzz-'))
  await chmod(dir, 0o755)
  const postgres = await startPostgres({ dir: join(dir, 'postgres'), unsafe: true })
  const ports = new Map<string, { port: number; adminPort: number }>()
  for (const { name } of system.services) ports.set(name, { port: await freePort(), adminPort: await freePort() })
  const running = []
  try {
    const local = await prepareLocalSystem({ system, dir, postgres, portsOf: ({ name }) => ports.get(name) as { port: number; adminPort: number } })
    for (const service of system.services) running.push(await local.start(service))
    const url = (name: string) => `http://127.0.0.1:${ports.get(name)?.port}`
    const users = url(user.name)
    const workload = await readFile(join(dir, 'workload-tokens', 'order-to-user.token'), 'utf8')
    const runs: Run[] = [
      { title: 'order', url: url(order.name), token: await logIn(users), filter: [] },
      { title: 'user', url: users, token: await logIn(users), filter: ['--exclude-path-regex', 'reservations|sessions/current'] },
      { title: 'user: logging out', url: users, token: await logIn(users), filter: ['--include-path-regex', 'sessions/current'] },
      { title: 'user: reservations', url: users, token: workload, filter: ['--include-path-regex', 'reservations'] },
    ]
    let passed = true
    for (const one of runs) {
      signal.throwIfAborted()
      passed = (await fuzz(program, maxExamples, one)) && passed
    }
    return passed
  } finally {
    await Promise.all(running.map(service => service.stop()))
    await postgres.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

/** @throws CommandError, exit code 2, without the program */
async function checkProgram(program: string): Promise<void> {
  await promisify(execFile)(program, ['--version'], { timeout: 60_000 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw usageError(`${program} is not installed: pip install schemathesis, or name it with --program`)
    throw usageError(`${program} --version fails: ${error.message.trim().split('\n').at(-1)}`)
  })
}

await runCommand('npm run fuzz', async signal => {
  const flags = parseFlags({
    program: { type: 'string', default: 'schemathesis' },
    'max-examples': { type: 'string', default: '100' },
    help: { type: 'boolean', default: false },
  })
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const maxExamples = wholeNumber('max-examples', flags['max-examples'], { min: 1, max: 1_000_000 })
  await checkProgram(flags.program)
  return (await run(flags.program, String(maxExamples), signal)) ? 0 : 1
})
