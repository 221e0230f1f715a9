import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { system } from '../../infra/system.ts'
import { defineCommand, runAlone, wholeNumber } from '../../scripts/command.ts'
import { type LocalSystem, prepareLocalSystem } from '../../scripts/local/local-system.ts'
import type { ServiceProcess } from '../../scripts/local/service-process.ts'
import { CommandError, say, usageError } from '../../scripts/terminal.ts'
import { freePort } from '../../services/chassis/local/ports.ts'
import { type Postgres, startPostgres } from '../../services/chassis/local/postgres.ts'
import { order } from '../../services/order/service.ts'
import { user } from '../../services/user/service.ts'
import { type Cores, expectOn, findCores, moveTo, residentMiB } from './cores.ts'
import { CONCURRENCY, findPgbench, makeUsers, prepareTables, statementsPerSecond } from './orders.ts'
import { installPeers, PEERS, PRODUCT } from './peers.ts'
import { type Generator, type Server, type ServerOptions, startGenerator, startServer } from './processes.ts'
import { BARE, budgets, hasResults, OURS, print, type Results } from './report.ts'
import { measureInRounds, type RoundOptions } from './rounds.ts'
import { STAGES } from './stages.ts'
import { median, medianRatio } from './statistics.ts'

const PARTS = ['products', 'orders', 'process', 'stages', 'collector']
interface Options {
  rounds: number
  seconds: number
  parts: string[]
}

interface Bench {
  options: Options
  signal: AbortSignal
  dir: string
  cores: Cores | undefined
  postgres: Postgres
  local: LocalSystem
  collector: string
  generator: Generator
  results: Results
  /** Undone in reverse order at the end. */
  undo: (() => Promise<unknown>)[]
}

/** Measures into `results`, which has what was measured also when a later part fails. */
async function run(options: Options, results: Results, signal: AbortSignal): Promise<void> {
  const undo: Bench['undo'] = []
  const cores = findCores()
  if (!cores) results.notes.push('there is no taskset or only one core here: server, load and Postgres share what there is')
  moveTo(cores?.load)
  try {
    if (options.parts.includes('products')) await installPeers(signal, say)
    say('starting Postgres, migrating, starting the services')
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-bench-'))
    undo.push(() => rm(dir, { recursive: true, force: true }))
    await chmod(dir, 0o755)
    const postgres = await startPostgres({ dir: join(dir, 'postgres') })
    undo.push(() => postgres.stop())
    signal.throwIfAborted()
    const ports = new Map<string, { port: number; adminPort: number }>()
    for (const { name } of system.services) ports.set(name, { port: await freePort(), adminPort: await freePort() })
    const portsOf = ({ name }: { name: string }) => ports.get(name) as { port: number; adminPort: number }
    const local = await prepareLocalSystem({ system, dir, postgres, portsOf })
    const port = await freePort()
    const program = fileURLToPath(new URL('./collector.ts', import.meta.url))
    const sink = await startServer({ name: 'collector', args: [program], env: {}, port, readyPath: '/', logFile: join(dir, 'collector.log') })
    undo.push(sink.stop)
    const generator = startGenerator()
    undo.push(generator.stop)
    const bench: Bench = { options, generator, signal, dir, cores, postgres, local, collector: sink.url, results, undo }
    await measure(bench)
  } finally {
    say('stopping')
    for (const step of undo.reverse()) await step().catch(error => say(`not undone: ${(error as Error).message}`))
  }
}

async function measure(bench: Bench): Promise<void> {
  const { options, signal, undo, results } = bench
  const users = await startService(bench, user)
  undo.push(() => users.stop())
  if (options.parts.includes('process')) {
    const times: number[] = []
    for (let n = 0; n < 5; n++) {
      signal.throwIfAborted()
      const startedAt = performance.now()
      const process = await startService(bench, order)
      times.push(performance.now() - startedAt)
      await process.stop()
    }
    results.readyMs = median(times)
  }
  const orders = await startService(bench, order)
  undo.push(() => orders.stop())
  const resting = async () => {
    const restSeconds = Math.min(5, 5 * options.seconds)
    say(`resting for ${restSeconds} s`)
    await sleep(restSeconds * 1_000, undefined, { signal })
    return { user: residentMiB(users.child.pid as number), order: residentMiB(orders.child.pid as number) }
  }
  const fresh = options.parts.includes('process') ? await resting() : undefined
  if (options.parts.includes('products')) results.products = await measureProducts(bench, orders)
  if (options.parts.includes('orders')) results.orders = await measureOrders(bench, users, orders)
  if (fresh) results.residentMiB = { 'after start': fresh, 'after load': await resting() }
  if (options.parts.includes('stages')) results.stages = await measureStages(bench)
  if (options.parts.includes('collector')) results.collector = await measureCollector(bench)
}

/** Runs `work` with this process on the core of the server under test, so that what it starts stays there. */
async function onServerCore<T>({ cores }: Bench, work: () => Promise<T>): Promise<T> {
  moveTo(cores?.server)
  try {
    return await work()
  } finally {
    moveTo(cores?.load)
  }
}

async function startService(bench: Bench, service: typeof user | typeof order): Promise<ServiceProcess> {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint(bench, service === order ? OURS : service.name),
    LINGER_MS: '0',
    CREDIT_LIMIT: '9000000000000000',
  }
  const started = await onServerCore(bench, () => bench.local.start(service, { env }))
  expectOn(bench.cores?.server, started.child.pid as number)
  return started
}

/** The collector tells servers apart by the path. */
const endpoint = ({ collector }: Bench, name: string) => `${collector}/${encodeURIComponent(name)}`

async function startPeer(bench: Bench, options: Omit<ServerOptions, 'port' | 'readyPath' | 'logFile'>): Promise<Server> {
  const port = await freePort()
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint(bench, options.name), ...options.env }
  const logFile = join(bench.dir, `${options.name}.log`)
  const started = await onServerCore(bench, () => startServer({ ...options, env, port, readyPath: PRODUCT, logFile }))
  expectOn(bench.cores?.server, started.pid)
  return started
}

const rounds = ({ options, signal, collector, generator }: Bench): RoundOptions => ({
  ...options,
  path: PRODUCT,
  warmUpSeconds: Math.min(3, 3 * options.seconds),
  connections: CONCURRENCY,
  generator,
  collector,
  signal,
  say,
})

async function measureProducts(bench: Bench, { child, url }: ServiceProcess) {
  const servers: Server[] = []
  const databaseUrl = bench.postgres.url(order.name)
  try {
    for (const { name, args } of PEERS) servers.push(await startPeer(bench, { name, args, env: { DATABASE_URL: databaseUrl } }))
    servers.push({ name: OURS, pid: child.pid as number, url, stop: async () => {} })
    const measured = await measureInRounds(servers, rounds(bench))
    const idle = measured.find(({ name, busy }) => name !== BARE && busy < 0.85)
    if (idle)
      bench.results.notes.push(
        `${idle.name} had only ${Math.round(idle.busy * 100)} % of its core: something else runs here, or the load generator was the limit`,
      )
    return measured
  } finally {
    await Promise.all(servers.map(server => server.stop()))
  }
}

async function measureOrders(bench: Bench, users: ServiceProcess, orders: ServiceProcess): Promise<Results['orders']> {
  const { options, signal, postgres, generator } = bench
  const seconds = options.seconds * 2
  say('registering users')
  await prepareTables(postgres)
  const tokens = await makeUsers(users.url, bench.signal)
  const pgbench = findPgbench()
  const load = () => generator.run({ url: `${orders.url}/orders`, seconds, connections: CONCURRENCY, tokens })
  const statements = () => onServerCore(bench, () => statementsPerSecond(postgres, pgbench, seconds, signal))
  say('warming up orders')
  await load()
  await statements()
  const ours: Awaited<ReturnType<typeof load>>[] = []
  const bare: number[] = []
  const pairs = Math.ceil(options.rounds / 2)
  for (let round = 1; round <= pairs; round++) {
    signal.throwIfAborted()
    say(`round ${round} of ${pairs}, orders and their statements alone for ${seconds} s each`)
    ours.push(await load())
    bare.push(await statements())
  }
  const statuses = ours.map(result => result.statuses)
  if (statuses.some(counts => Object.keys(counts).some(status => status !== '201' && status !== '202')))
    throw new CommandError(`orders were answered ${JSON.stringify(statuses)}`)
  const total = ours.reduce((sum, { requests }) => sum + requests, 0)
  const perSecond = ours.map(result => result.perSecond)
  return {
    perSecond: median(perSecond),
    p50Ms: median(ours.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(ours.map(({ p99Ms }) => p99Ms)),
    statementsPerSecond: median(bare),
    ratio: medianRatio(perSecond, bare),
    confirmed: statuses.reduce((sum, counts) => sum + (counts['201'] ?? 0), 0) / total,
    with: pgbench ? 'pgbench, the same statements' : 'plain pg (no pgbench here), the same statements',
  }
}

/** The order service in a process of its own, without one stage (`all`: with all of them). */
const startStages = (bench: Bench, name: string, env: Record<string, string>): Promise<Server> =>
  startPeer(bench, {
    name,
    args: [fileURLToPath(new URL('./stages.ts', import.meta.url))],
    env: { ...bench.local.environment(order), ADMIN_PORT: '0', LINGER_MS: '0', ...env },
  })

async function measureStages(bench: Bench) {
  const servers: Server[] = []
  try {
    say(`starting ${STAGES.length + 1} services`)
    for (const name of ['all', ...STAGES]) {
      bench.signal.throwIfAborted()
      servers.push(await startStages(bench, name, { WITHOUT: name }))
    }
    const options = rounds(bench)
    return await measureInRounds(servers, { ...options, seconds: options.seconds / 2, warmUpSeconds: options.warmUpSeconds / 2 })
  } finally {
    await Promise.all(servers.map(server => server.stop()))
  }
}

/** With a collector that takes the spans, with none, and with one that takes connections and never answers. */
async function measureCollector(bench: Bench): Promise<Results['collector']> {
  const hanging = createServer(() => {})
  await new Promise<void>(resolve => hanging.listen(0, '127.0.0.1', resolve))
  const collectors = {
    'takes spans': endpoint(bench, 'takes spans'),
    'is killed': `http://127.0.0.1:${await freePort()}`,
    hangs: `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`,
  }
  const servers: Server[] = []
  try {
    say(`starting ${Object.keys(collectors).length} services`)
    for (const [name, url] of Object.entries(collectors))
      servers.push(await startStages(bench, name, { WITHOUT: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: url }))
    const measured = await measureInRounds(servers, rounds(bench))
    return measured.map((row, i) => ({ ...row, residentMiB: residentMiB(servers[i]?.pid as number) }))
  } finally {
    await Promise.all(servers.map(server => server.stop()))
    hanging.closeAllConnections()
    hanging.close()
  }
}

function partsOf(text: string): string[] {
  const parts = text.split(',')
  const unknown = parts.find(part => !PARTS.includes(part))
  if (unknown !== undefined) throw usageError(`--only '${unknown}' is none of ${PARTS.join(', ')}`)
  return parts
}

function secondsOf(text: string): number {
  const seconds = Number(text)
  if (seconds > 0 && seconds <= 600) return seconds
  throw usageError(`--seconds ${text} is not a number above 0, at most 600`)
}

await runAlone(
  defineCommand({
    name: 'npm run bench',
    summary: 'Measure the order service beside other frameworks',
    description: `Measures the order service beside bare Koa, Koa, Fastify and NestJS on this machine, one core for the server under test and one
for load and Postgres, and compares with the design's budgets. Read the ratios: the absolute figures are this machine's. The default
run takes about four minutes, the first one also installs the other frameworks into test/bench/peers. Exits 0 also when a budget is not
met.`,
    examples: ['npm run bench', 'npm run bench -- --only orders --rounds 3'],
    options: command =>
      command
        .option('--rounds <n>', 'rounds of each measurement, interleaved', wholeNumber({ min: 1, max: 1_000 }), 8)
        .option('--seconds <n>', 'length of one measurement of a server; orders twice, stages half', secondsOf, 1)
        .option('--only <list>', `of ${PARTS.join(', ')} (default: all)`, partsOf)
        .option('--json', 'results as JSON instead of tables'),
    run: async ({ rounds, seconds, only = PARTS, json }, { interrupts }) => {
      const results: Results = { node: process.version, notes: [] }
      try {
        await run({ rounds, seconds, parts: only }, results, interrupts())
      } finally {
        if (hasResults(results))
          process.stdout.write(json ? `${JSON.stringify({ ...results, budgets: budgets(results) }, null, 2)}\n` : `\n${print(results)}`)
      }
      return 0
    },
  }),
)
