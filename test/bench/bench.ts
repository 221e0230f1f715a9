import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { memoryVariables } from '../../infra/kit/objects/memory.ts'
import type { LocalPorts } from '../../scripts/local/service-process.ts'
import { say } from '../../scripts/terminal.ts'
import { freePort } from '../../services/chassis/local/ports.ts'
import { type Postgres, startPostgres } from '../../services/chassis/local/postgres.ts'
import { type Cores, expectOn, findCores, moveTo } from './cores.ts'
import { PRODUCT } from './peers.ts'
import { type Generator, type Server, type ServerOptions, startGenerator, startServer } from './processes.ts'
import { OURS, type Results } from './report.ts'
import type { RoundOptions } from './rounds.ts'
import { revision, type Version, workingTree } from './versions.ts'

export interface Options {
  rounds: number
  /** Of one measurement. */
  seconds: number
  /** A revision to measure beside this one. */
  compare?: string
}

/** What every part of the bench works with. */
export interface Bench {
  options: Options
  signal: AbortSignal
  dir: string
  cores: Cores | undefined
  postgres: Postgres
  ours: Version
  compared: Version | undefined
  /** URL of the sink for traces. */
  collector: string
  generator: Generator
  results: Results
  /** Undone in reverse order at the end. */
  undo: (() => Promise<unknown>)[]
}

/** Sets everything up, and takes it down once `work` is done. */
export async function withBench(options: Options, results: Results, signal: AbortSignal, work: (bench: Bench) => Promise<void>): Promise<void> {
  const undo: Bench['undo'] = []
  const cores = findCores()
  if (!cores) results.notes.push('there is no taskset or only one core here: server, load and Postgres share what there is')
  moveTo(cores?.load)
  try {
    say('starting Postgres, migrating, bundling the services')
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'))
    undo.push(() => rm(dir, { recursive: true, force: true }))
    await chmod(dir, 0o755)
    const postgres = await startPostgres({ dir: join(dir, 'postgres') })
    undo.push(() => postgres.stop())
    signal.throwIfAborted()
    const ours = await workingTree({ dir, postgres, signal })
    const compared = options.compare === undefined ? undefined : await revision(options.compare, { dir, signal, say, undo })
    const port = await freePort()
    const program = fileURLToPath(new URL('./collector.ts', import.meta.url))
    const sink = { name: 'collector', args: [program], env: {}, port, readyUrl: `http://127.0.0.1:${port}/`, logFile: join(dir, 'collector.log') }
    const collector = await startServer(sink)
    undo.push(collector.stop)
    const generator = startGenerator()
    undo.push(generator.stop)
    await work({ options, generator, signal, dir, cores, postgres, ours, compared, collector: collector.url, results, undo })
  } finally {
    say('stopping')
    for (const step of undo.reverse()) await step().catch(error => say(`not undone: ${(error as Error).message}`))
  }
}

/** Runs `work` with this process on the core of the server under test, so that what it starts stays there. */
export async function onServerCore<T>({ cores }: Pick<Bench, 'cores'>, work: () => Promise<T>): Promise<T> {
  moveTo(cores?.server)
  try {
    return await work()
  } finally {
    moveTo(cores?.load)
  }
}

/** Starts the user service of a version as its image does, where the version's order service looks for it. */
export function startUser(bench: Bench, version = bench.ours): Promise<Server> {
  const { port, adminPort } = version.local.ports.user as LocalPorts
  return startService(bench, 'user', version, { name: `user service${version.suffix}`, port, adminPort })
}

export interface OrderOptions {
  /** @default this working tree */
  version?: Version
  /** @default the service's, with its version */
  name?: string
  env?: Record<string, string>
}

/** Starts an order service of a version as its image does, on ports of its own. */
export async function startOrder(bench: Bench, { version = bench.ours, name = OURS + version.suffix, env = {} }: OrderOptions = {}): Promise<Server> {
  return startService(bench, 'order', version, { name, port: await freePort(), adminPort: await freePort(), env })
}

type Place = LocalPorts & { name: string; env?: Record<string, string> }

function startService(bench: Bench, service: 'user' | 'order', { local, definition, main }: Version, place: Place): Promise<Server> {
  const { name, port, adminPort, env } = place
  return startOn(bench, {
    name,
    args: [main(service)],
    env: { NODE_ENV: 'production', TRUSTED_HOPS: '1', LINGER_MS: '0', ADMIN_PORT: String(adminPort), ...env },
    base: { ...local.environment(definition(service)), CREDIT_LIMIT: '9000000000000000', REGISTRATIONS_PER_ADDRESS: '10000' },
    port,
    readyUrl: `http://127.0.0.1:${adminPort}/readyz`,
  })
}

/** Starts a server to compare with, with the memory of a pod by default. */
export async function startPeer(bench: Bench, options: Pick<ServerOptions, 'name' | 'args' | 'env'>): Promise<Server> {
  const port = await freePort()
  return startOn(bench, { ...options, base: memoryVariables({}), port, readyUrl: `http://127.0.0.1:${port}${PRODUCT}` })
}

/** On the core of the server under test. The collector tells servers apart by the path. */
async function startOn(bench: Bench, { base, ...options }: Omit<ServerOptions, 'logFile'> & { base: Record<string, string> }): Promise<Server> {
  const env = { ...base, OTEL_EXPORTER_OTLP_ENDPOINT: `${bench.collector}/${encodeURIComponent(options.name)}`, ...options.env }
  const started = await onServerCore(bench, () => startServer({ ...options, env, logFile: join(bench.dir, `${options.name}.log`) }))
  expectOn(bench.cores?.server, started.pid)
  return started
}

/** Starts servers for as long as `work` runs. */
export async function withServers<T>(starts: readonly (() => Promise<Server>)[], work: (servers: Server[]) => Promise<T>): Promise<T> {
  const servers: Server[] = []
  try {
    for (const start of starts) servers.push(await start())
    return await work(servers)
  } finally {
    await Promise.all(servers.map(server => server.stop()))
  }
}

export const roundOptions = ({ options, signal, collector, generator }: Bench, connections: number): RoundOptions => ({
  ...options,
  path: PRODUCT,
  warmUpSeconds: Math.min(10, 10 * options.seconds),
  connections,
  generator,
  collector,
  signal,
  say,
})
