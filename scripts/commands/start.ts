import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { ServiceDefinition } from '@fairlead/chassis'
import { isFree, type Postgres, startPostgres } from '@fairlead/chassis/local'
import { type App, refuseImpossibleGraph } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { defineCommand, wholeNumber } from '../command.ts'
import { curlLines } from '../journey/curl-lines.ts'
import { tokenInBash } from '../journey/user-tokens.ts'
import { describeChangeable, graphPorts, type LocalSystem, prepareLocalSystem, settingsFrom } from '../local/local-system.ts'
import { holderOf } from '../local/processes.ts'
import { endOrphans, openRunFile } from '../local/run-file.ts'
import type { LocalPorts, ServiceProcess } from '../local/service-process.ts'
import { CommandError, createSteps, say, usageError } from '../terminal.ts'

const RENEW_TOKENS_MS = 20 * 60_000
const MAX_PORT = 65_535

interface Options {
  dataDir: string
  portsOf: (service: ServiceDefinition) => LocalPorts
}

async function runSystem({ system, root, journey }: App, { dataDir, portsOf }: Options, stopped: AbortSignal): Promise<void> {
  const dir = resolve(dataDir)
  const { step } = createSteps()
  let postgres: Postgres | undefined
  const running: ServiceProcess[] = []
  let renewal: NodeJS.Timeout | undefined
  refuseImpossibleGraph(system)
  settingsFrom(process.env, system)
  for (const ended of await endOrphans(dir)) say(`ended ${ended}, which an earlier start left behind`)
  for (const service of system.services) await refuseTakenPort(service.name, portsOf(service))
  await mkdir(dir, { recursive: true })
  const runFile = await openRunFile(dir)
  try {
    if (system.services.some(({ database }) => database)) postgres = await step('Postgres', () => startPostgres({ dir: join(dir, 'postgres') }))
    stopped.throwIfAborted()
    const local: LocalSystem = await step(postgres ? 'databases, migrations, keys and tokens' : 'keys and tokens', () =>
      prepareLocalSystem({
        system,
        root,
        dir,
        postgres,
        portsOf,
        settings: process.env,
        signal: stopped,
        onSpawn: runFile.note,
      }),
    )
    renewal = setInterval(() => local.renewTokens().catch(error => say(`tokens were not renewed: ${error.message}`)), RENEW_TOKENS_MS)
    for (const service of system.services) {
      stopped.throwIfAborted()
      running.push(
        await step(`${service.name} on ${addressOf(local.ports[service.name] as LocalPorts)}, logs in ${local.logFile(service.name)}`, () =>
          local.start(service),
        ),
      )
    }
    // An abort that came while the last one started is told to nobody who begins to listen now.
    stopped.throwIfAborted()
    if (journey) {
      say('\nTry it in another terminal (bash):\n')
      const userToken = local.users && ((name: string) => tokenInBash(name, dataDir))
      process.stdout.write(curlLines(journey, { origin: service => `http://127.0.0.1:${local.ports[service]?.port}`, userToken }))
    } else say('\nthe system has no journey (infra/journey.ts), so there are no lines to try')
    say('\nCtrl-C stops everything.')
    const died = running.map(({ ended }, i) => ended.then(code => `${system.services[i]?.name} ended by itself with ${code}; its log tells why`))
    const reason = await Promise.race([
      ...died,
      new Promise<undefined>(done => stopped.addEventListener('abort', () => done(undefined), { once: true })),
    ])
    if (reason) throw new CommandError(reason)
  } finally {
    clearInterval(renewal)
    if (running.length > 0 || postgres) say('\nstopping')
    await Promise.all(running.map(service => service.stop()))
    await postgres?.stop()
    await runFile.remove()
  }
}

const addressOf = ({ port, grpcPort }: LocalPorts) => `127.0.0.1:${port}${grpcPort === undefined ? '' : `, by gRPC on ${grpcPort}`}`

/** Before anything is started: a clear word now is better than a log to read later. */
async function refuseTakenPort(name: string, ports: LocalPorts): Promise<void> {
  for (const wanted of Object.values(ports)) {
    if (await isFree(wanted)) continue
    const holder = await holderOf(wanted)
    const who = holder ? `pid ${holder.pid} holds it (${holder.program})` : 'another program holds it'
    throw new CommandError(`${name} cannot listen on 127.0.0.1:${wanted}: ${who}; stop that, or start with --port-offset`)
  }
}

export const start = defineCommand({
  name: 'start',
  summary: 'Start every service on this machine',
  description: `Starts Postgres and every service of the system graph on 127.0.0.1, and prints curl lines to try. Ctrl-C stops everything; the
data stays for the next start.`,
  examples: ['npx fairlead start', 'npx fairlead start --port-offset 100 --data-dir .data/second', 'LOG_LEVEL=debug npx fairlead start'],
  details: async () => {
    const app = await loadApp().catch(() => undefined)
    return app ? `\nSettings of the services come from the environment:\n${describeChangeable(app.system)}` : ''
  },
  options: command =>
    command
      .option('--data-dir <folder>', 'where data, keys and logs are kept', '.data')
      .option(
        '--port-offset <n>',
        'added to each port of the graph, to run a second copy; give it its own --data-dir',
        wholeNumber({ min: 0, max: MAX_PORT }),
        0,
      ),
  run: async ({ dataDir, portOffset }, { interrupts }) => {
    const app = await loadApp()
    const most = MAX_PORT - Math.max(...app.system.services.flatMap(service => Object.values(graphPorts(service))))
    if (portOffset > most) throw usageError(`--port-offset ${portOffset} is not a whole number from 0 to ${most}`)
    await runSystem(app, { dataDir, portsOf: service => graphPorts(service, portOffset) }, interrupts())
    return 0
  },
})
