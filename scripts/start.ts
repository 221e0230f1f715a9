import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { refuseImpossibleGraph } from '../infra/checks/refuse.ts'
import { system } from '../infra/system.ts'
import type { ServiceDefinition } from '../services/chassis/graph.ts'
import { order } from '../services/order/service.ts'
import { user } from '../services/user/service.ts'
import { graphPorts, type LocalSystem, prepareLocalSystem, type ServiceProcess } from './local-system.ts'
import { isFree, type Postgres, startPostgres } from './postgres.ts'
import { createSteps, red, say } from './terminal.ts'
import { walk } from './walk.ts'

const HELP = `npm start [-- options]

Starts Postgres and every service of the system graph on 127.0.0.1, and prints curl lines to try. Ctrl-C stops everything; the
data stays for the next start.

  --data-dir DIR   where data, keys and logs are kept (default: .data)
  --help           this text
`

const RENEW_TOKENS_MS = 20 * 60_000

const { step } = createSteps()

async function run(dir: string, stopped: AbortSignal): Promise<void> {
  let postgres: Postgres | undefined
  const running: ServiceProcess[] = []
  let renewal: NodeJS.Timeout | undefined
  refuseImpossibleGraph(system)
  for (const service of system.services) await refuseTakenPort(service)
  await mkdir(dir, { recursive: true })
  try {
    const database = await step('Postgres', () => startPostgres({ dir: join(dir, 'postgres') }))
    postgres = database
    stopped.throwIfAborted()
    const local: LocalSystem = await step('databases, migrations, keys and tokens', () => prepareLocalSystem({ system, dir, postgres: database }))
    renewal = setInterval(() => local.renewTokens().catch(error => say(`tokens were not renewed: ${error.message}`)), RENEW_TOKENS_MS)
    for (const service of system.services) {
      stopped.throwIfAborted()
      running.push(
        await step(`${service.name} on 127.0.0.1:${local.ports[service.name]?.port}, logs in ${local.logFile(service.name)}`, () =>
          local.start(service),
        ),
      )
    }
    // An abort that came while the last one started is told to nobody who begins to listen now.
    stopped.throwIfAborted()
    const url = (name: string) => `http://127.0.0.1:${local.ports[name]?.port}`
    say('\nTry it in another terminal (bash):\n')
    process.stdout.write(walk({ user: url(user.name), order: url(order.name) }))
    say('\nCtrl-C stops everything.')
    const died = running.map(({ ended }, i) => ended.then(code => `${system.services[i]?.name} ended by itself with ${code}; its log tells why`))
    const reason = await Promise.race([
      ...died,
      new Promise<undefined>(done => stopped.addEventListener('abort', () => done(undefined), { once: true })),
    ])
    if (reason) throw new Error(reason)
  } finally {
    clearInterval(renewal)
    if (postgres) say('\nstopping')
    await Promise.all(running.map(service => service.stop()))
    await postgres?.stop()
  }
}

/** Before anything is started: a clear word now is better than a log to read later. */
async function refuseTakenPort({ name, port }: ServiceDefinition): Promise<void> {
  for (const wanted of Object.values(graphPorts({ port }))) {
    if (!(await isFree(wanted))) throw new Error(`${name} cannot listen on 127.0.0.1:${wanted}: the port is taken; stop what listens there`)
  }
}

function parseFlags() {
  try {
    return parseArgs({ options: { 'data-dir': { type: 'string', default: '.data' }, help: { type: 'boolean', default: false } } }).values
  } catch (error) {
    const [problem] = (error as Error).message.split('. ')
    say(`${problem}; see npm start -- --help`)
    return undefined
  }
}

const flags = parseFlags()
if (!flags) process.exitCode = 2
else if (flags.help) process.stdout.write(HELP)
else {
  const interrupt = new AbortController()
  // A closed terminal or a pipe's end that is gone must not keep the services from being stopped.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupt.abort())
  await run(resolve(flags['data-dir']), interrupt.signal).catch(error => {
    if (interrupt.signal.aborted) return
    say(`${red('error:')} ${error.message}`)
    process.exitCode = 1
  })
}
