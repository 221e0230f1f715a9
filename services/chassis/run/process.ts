import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { createClient } from '../client/client.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import { ConfigError, loadConfig } from '../contract/settings.ts'
import { edgeVariables } from '../contract/variables.ts'
import { openDatabase } from '../data/database.ts'
import { watchWorkloadToken } from '../identity/workload-identity.ts'
import { createAdmission } from '../server/admission.ts'
import { MAX_CONNECTIONS } from '../server/connections.ts'
import { drainOnSignal, type Running, serve } from '../server/serve.ts'
import { createLog, flushLog, type Logger } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { createTracing } from '../telemetry/tracing.ts'
import { loadServiceConfig, migrateConfig, type ServiceConfig } from './config.ts'
import type { Resources, Wired } from './wire.ts'

/** A service process, whatever it serves. */
export interface ProcessOptions {
  service: ServiceDefinition
  /** Folder of the SQL migrations, of a service that has a database. */
  migrations?: URL | undefined
  env: Record<string, string | undefined>
  argv: readonly string[]
  wire: (resources: Resources) => Promise<Wired>
}

/**
 * The life of a service process: settings, log, telemetry, database, app, both servers, drain. With the argument `migrate` it
 * migrates its database and ends. Exits 1 with one clear message when it cannot start.
 */
export async function startProcess({ service, migrations, env, argv, wire }: ProcessOptions): Promise<Running | undefined> {
  // V8 allocates what seems to live long straight into the old generation. Under load it comes to think so of whole requests, which
  // then drag their neighbours along: see docs/decisions/2026-11-24-no-pretenuring.md.
  setFlagsFromString('--no-allocation-site-pretenuring')
  const log = createLog({ service: service.name })
  try {
    if (argv[2] === 'migrate') {
      if (!migrations) throw new Error(`${service.name} has no migrations: give implement() their folder`)
      const { DATABASE_URL_FILE: url, DATABASE_WAIT_MS: connectWaitMs } = loadConfig(migrateConfig, env)
      // Only here: a serving process need not hold the migration tool in memory.
      const { migrate } = await import('../data/migrate.ts')
      const ran = await migrate({ url, dir: fileURLToPath(migrations), log, connectWaitMs })
      log.info({ ran }, 'migrated')
      await flushLog(log)
      return undefined
    }
    const config = loadServiceConfig(service, env)
    log.level = config.LOG_LEVEL
    return await run(service, config, log, wire)
  } catch (error) {
    if (error instanceof ConfigError) process.stderr.write(`${service.name} cannot start: ${error.message}\n`)
    else log.fatal({ err: error }, 'cannot start')
    await flushLog(log)
    process.exit(1)
  }
}

async function run(service: ServiceDefinition, config: ServiceConfig, log: Logger, wire: ProcessOptions['wire']): Promise<Running> {
  const metrics = createMetrics({ sloThresholdMs: service.slo.latency.thresholdMs })
  const lost = metrics.counter('trace_spans_lost_total', 'Spans that were not sent: the queue was full, or the collector did not take them', [], [{}])
  const tracing = createTracing({
    service: service.name,
    onLost: count => lost.inc(count),
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
  const clients = await openClients(service, config, runtime)
  const { TRUSTED_HOPS: trustedHops, INGRESS_TRACES: ingressTraces } = config
  const wired = await wire({ config, runtime, database, clients, trustedHops, ingressTraces })
  const admit = createAdmission({ ...runtime, service, ...(database && { waitMs: database.waitMs }) })
  await warm
  const running = await serve({
    ...runtime,
    handler: admit(wired.app.callback()),
    port: config.PORT,
    adminPort: config.ADMIN_PORT,
    ...(wired.grpc && { grpc: { handler: wired.grpc.callback(), port: config.GRPC_PORT as number } }),
    lingerMs: config.LINGER_MS,
    health: wired.health,
    closers: [
      ...(wired.closers ?? []),
      ...Object.values(clients).map(({ close }) => close),
      tracing.close,
      ...(database ? [() => database.close(2_000)] : []),
    ],
    ...(config.HOST && { host: config.HOST }),
    ...(trustedHops > 0 && { connections: { total: MAX_CONNECTIONS, perSource: MAX_CONNECTIONS } }),
  })
  drainOnSignal(running)
  return running
}

/** A client for each edge, with its own token for the callee. */
async function openClients(service: ServiceDefinition, config: ServiceConfig, runtime: Runtime): Promise<Resources['clients']> {
  const clients: Resources['clients'] = {}
  const { DISCOVERY: way, DISCOVERY_DOMAIN: domain, DISCOVERY_SERVER: servers } = config
  const registry = { way, zone: `${config.NAMESPACE}.svc.${domain}`, servers }
  for (const { to } of service.calls) {
    const { identityFile, host } = edgeVariables(to.name)
    // Of each edge there is a setting, by edgeConfig.
    const token = await watchWorkloadToken(config[identityFile] as string, runtime.log)
    const elsewhere = config[host] as string | undefined
    clients[to.name] = createClient(service, to.name, { ...runtime, registry, workloadToken: token.current, ...(elsewhere && { host: elsewhere }) })
  }
  return clients
}
