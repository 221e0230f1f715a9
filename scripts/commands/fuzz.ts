import { execFile, spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { callersOf, type Operation, type ServiceDefinition } from '@fairlead/chassis'
import { startPostgres } from '@fairlead/chassis/local'
import type { App } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand, wholeNumber } from '../command.ts'
import { runJourney } from '../journey/run-journey.ts'
import { freePorts, prepareLocalSystem, settingsFrom } from '../local/local-system.ts'
import type { LocalPorts } from '../local/service-process.ts'
import { usageError } from '../terminal.ts'

interface Target {
  url: (service: string) => string
  /** Access token of a new user; of nobody where the system has no journey that shows one. */
  userToken: () => Promise<string | undefined>
  /** What a caller shows a callee. */
  workloadToken: (caller: string, callee: string) => Promise<string>
}

/** One run of the program: some operations of a service, by somebody who may call them. */
interface Run {
  title: string
  url: string
  token: string | undefined
  operations: string[]
}

/** A user who deletes something, e.g. a session, is another one: what the others need would go. */
const isDeletion = ({ auth, method }: Operation) => auth === 'user' && method === 'DELETE'

async function runsOf({ system }: App, service: ServiceDefinition, { url, userToken, workloadToken }: Target): Promise<Run[]> {
  const operations = Object.entries<Operation>(service.contract)
  const those = (which: (operation: Operation) => boolean) => operations.filter(([, operation]) => which(operation)).map(([id]) => id)
  const caller = callersOf(system, service)[0]
  const byUser = operations.some(([, { auth }]) => auth === 'user')
  const runs = [
    { title: service.name, operations: those(operation => operation.auth !== 'workload' && !isDeletion(operation)), token: byUser && userToken },
    { title: `${service.name}: deletions`, operations: those(isDeletion), token: userToken },
    {
      title: `${service.name}: as ${caller}`,
      operations: caller ? those(({ auth }) => auth === 'workload') : [],
      token: () => workloadToken(caller ?? '', service.name),
    },
  ]
  return Promise.all(
    runs
      .filter(run => run.operations.length > 0)
      .map(async run => ({ ...run, url: url(service.name), token: run.token ? await run.token() : undefined })),
  )
}

const tryRun = (program: string, maxExamples: number, { title, url, token, operations }: Run, signal: AbortSignal): Promise<boolean> =>
  new Promise((resolve, reject) => {
    process.stderr.write(`\n== ${title}\n`)
    const args = ['run', `${url}/openapi.json`, '--checks', 'all', '--max-examples', String(maxExamples)]
    if (token) args.push('--header', `Authorization: Bearer ${token}`)
    for (const id of operations) args.push('--include-operation-id', id)
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'], timeout: 600_000, signal })
    child.once('error', reject)
    child.once('close', code => (signal.aborted ? reject(signal.reason) : resolve(code === 0)))
  })

interface Options {
  program: string
  maxExamples: number
  /** Where secrets are that nobody here can make. */
  dataDir: string
}

async function tryApp(app: App, { program, maxExamples, dataDir }: Options, signal: AbortSignal): Promise<boolean> {
  const { system, root, journey } = app
  settingsFrom(process.env, system)
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-fuzz-'))
  // Postgres runs as nobody under root, and has to reach its folder.
  await chmod(dir, 0o755)
  const postgres = system.services.some(({ database }) => database) ? await startPostgres({ dir: join(dir, 'postgres'), unsafe: true }) : undefined
  const ports = new Map<string, LocalPorts>()
  for (const service of system.services) ports.set(service.name, await freePorts(service))
  const running = []
  try {
    const local = await prepareLocalSystem({
      system,
      root,
      dir,
      postgres,
      portsOf: ({ name }) => ports.get(name) as LocalPorts,
      settings: process.env,
      brought: resolve(dataDir),
      signal,
    })
    for (const service of system.services) running.push(await local.start(service))
    const url = (name: string) => `http://127.0.0.1:${ports.get(name)?.port}`
    const target: Target = {
      url,
      userToken: async () =>
        journey && (await runJourney(journey, { origin: url, signal, userToken: local.users?.tokenOf })).findLast(({ sent }) => sent.as)?.sent.as,
      workloadToken: (caller, callee) => readFile(join(dir, 'workload-tokens', `${caller}-to-${callee}.token`), 'utf8'),
    }
    let passed = true
    for (const service of system.services)
      for (const one of await runsOf(app, service, target)) {
        signal.throwIfAborted()
        passed = (await tryRun(program, maxExamples, one, signal)) && passed
      }
    return passed
  } finally {
    await Promise.all(running.map(service => service.stop()))
    await postgres?.stop()
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

export const fuzz = defineCommand({
  name: 'fuzz',
  summary: 'Try every operation with what Schemathesis makes up',
  description: `Runs Schemathesis (a Python program: pip install schemathesis) with all its checks against each service's /openapi.json, on
databases of their own, with the access token of a user who has taken the journey. Settings of the services come from the environment,
and secrets that have to be brought from the data of start. Ends with 1 when a check fails, with 2 without the program.`,
  examples: ['npx fairlead fuzz', 'npx fairlead fuzz --max-examples 1000'],
  options: command =>
    command
      .option('--program <path>', 'the program', 'schemathesis')
      .option('--data-dir <folder>', 'where secrets are that nobody can make, in secrets/SERVICE/NAME', '.data')
      .option('--max-examples <n>', 'cases per operation and phase', wholeNumber({ min: 1, max: 1_000_000 }), 100),
  run: async (options, { interrupts }) => {
    const app = await loadApp()
    await checkProgram(options.program)
    return (await tryApp(app, options, interrupts())) ? 0 : 1
  },
})
