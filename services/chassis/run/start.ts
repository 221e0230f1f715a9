import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import type Koa from 'koa'
import type { z } from 'zod'
import { type Client, createClient } from '../client/client.ts'
import { type Callee, type CalleeName, edgeVariables, type ServiceDefinition } from '../contract/graph.ts'
import { ConfigError, loadConfig } from '../contract/settings.ts'
import { type Database, openDatabase } from '../data/database.ts'
import type { Verifiers } from '../identity/auth.ts'
import { watchWorkloadToken } from '../identity/workload-identity.ts'
import { MAX_CONNECTIONS } from '../server/connections.ts'
import { type Check, createHealth } from '../server/health.ts'
import { createApp } from '../server/pipeline.ts'
import type { Handlers } from '../server/routes.ts'
import { drainOnSignal, type Running, serve } from '../server/serve.ts'
import { type LoopDelay, watchLoopDelay } from '../server/shed.ts'
import { createLog, flushLog, type Logger } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { createTracing } from '../telemetry/tracing.ts'
import { type BaseConfig, baseConfig, edgeConfig, migrateConfig } from './config.ts'

type Fields = Record<string, z.ZodType>

export interface Wiring<D extends ServiceDefinition, F extends Fields> {
  config: BaseConfig & { [K in keyof F]: z.output<F[K]> }
  runtime: Runtime
  /** Its own, where the definition names one. */
  database: D extends { database: string } ? Database : undefined
  /** A client for one of its edges, with its own token for the callee; closed after the closers that it brings. */
  client: <N extends CalleeName<D>>(callee: N) => Promise<Client<Callee<D, N>['contract']>>
  loopDelay: LoopDelay
  /** The app with every stage of the pipeline, by the settings of the process. */
  app: (own: { handlers: Handlers<D['contract']>; verifiers?: Verifiers }) => Koa
}

/** What a service brings: its Koa app, and what else readiness needs and shutdown closes. */
export interface Wired {
  app: Koa
  checks?: Record<string, Check>
  /** Closed in order after the last request and before telemetry and pool. */
  closers?: (() => Promise<unknown>)[]
}

export interface ServiceMain<D extends ServiceDefinition, F extends Fields> {
  service: D
  /** Settings beyond those that every service has. */
  config: F
  /** Folder of the SQL migrations, of a service that has a database. */
  migrations?: URL
  env: Record<string, string | undefined>
  argv: readonly string[]
  wire: (wiring: Wiring<D, F>) => Promise<Wired>
}

// V8 allocates what seems to live long straight into the old generation. Under load it comes to think so of whole requests, which
// then drag their neighbours along: see docs/decisions/2026-11-24-no-pretenuring.md.
setFlagsFromString('--no-allocation-site-pretenuring')

/**
 * The life of a service process: settings, log, telemetry, database, app, both servers, drain. With the argument `migrate` it
 * migrates its database and ends. Exits 1 with one clear message when it cannot start.
 */
export async function startService<D extends ServiceDefinition, F extends Fields>({
  service,
  config: fields,
  migrations,
  env,
  argv,
  wire,
}: ServiceMain<D, F>): Promise<Running | undefined> {
  const log = createLog({ service: service.name })
  try {
    if (argv[2] === 'migrate') {
      if (!migrations) throw new Error(`${service.name} has no migrations: name their folder in main.ts`)
      const { DATABASE_URL_FILE: url, DATABASE_WAIT_MS: connectWaitMs } = loadConfig(migrateConfig, env)
      // Only here: a serving process need not hold the migration tool in memory.
      const { migrate } = await import('../data/migrate.ts')
      const ran = await migrate({ url, dir: fileURLToPath(migrations), log, connectWaitMs })
      log.info({ ran }, 'migrated')
      await flushLog(log)
      return undefined
    }
    const config = loadConfig({ ...baseConfig(service), ...edgeConfig(service), ...fields }, env) as Wiring<D, F>['config']
    log.level = config.LOG_LEVEL
    return await run(service, config, log, wire)
  } catch (error) {
    if (error instanceof ConfigError) process.stderr.write(`${service.name} cannot start: ${error.message}\n`)
    else log.fatal({ err: error }, 'cannot start')
    await flushLog(log)
    process.exit(1)
  }
}

async function run<D extends ServiceDefinition, F extends Fields>(
  service: D,
  config: Wiring<D, F>['config'],
  log: Logger,
  wire: ServiceMain<D, F>['wire'],
): Promise<Running> {
  const metrics = createMetrics({ sloThresholdMs: service.slo.latency.thresholdMs })
  const tracing = createTracing({
    service: service.name,
    ...(config.OTEL_EXPORTER_OTLP_ENDPOINT && { endpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT }),
  })
  const runtime: Runtime = { tracer: tracing.tracer, log, metrics }
  const database =
    config.DATABASE_URL_FILE === undefined
      ? undefined
      : openDatabase({
          ...runtime,
          url: config.DATABASE_URL_FILE,
          service: service.name,
          poolSize: config.DATABASE_POOL_SIZE,
          statementTimeoutMs: service.timeoutMs,
        })
  const warm = database?.warm()
  const loopDelay = watchLoopDelay()
  const clients: { close(): Promise<void> }[] = []
  const client: Wiring<D, F>['client'] = async callee => {
    const { identityFile, host } = edgeVariables(callee)
    // Of each edge there is a setting, by edgeConfig.
    const { [identityFile]: path, [host]: elsewhere } = config as Record<string, string | undefined>
    const token = await watchWorkloadToken(path as string, log)
    const made = createClient(service, callee, { ...runtime, workloadToken: token.current, ...(elsewhere && { host: elsewhere }) })
    clients.push(made)
    return made
  }
  const app: Wiring<D, F>['app'] = own =>
    createApp<D['contract']>(runtime, { service, loopDelay, trustedHops: config.TRUSTED_HOPS, ingressTraces: config.INGRESS_TRACES, ...own })
  const wired = await wire({ config, runtime, database: database as Wiring<D, F>['database'], loopDelay, client, app })
  await warm
  const running = await serve({
    ...runtime,
    handler: wired.app.callback(),
    port: config.PORT,
    adminPort: config.ADMIN_PORT,
    lingerMs: config.LINGER_MS,
    health: createHealth({ ...(database && { database: () => database.ping(900) }), ...wired.checks }),
    closers: [...(wired.closers ?? []), ...clients.map(({ close }) => close), tracing.close, ...(database ? [() => database.close(2_000)] : [])],
    ...(config.HOST && { host: config.HOST }),
    ...(config.TRUSTED_HOPS > 0 && { connections: { total: MAX_CONNECTIONS, perSource: MAX_CONNECTIONS } }),
  })
  drainOnSignal(running)
  return running
}
