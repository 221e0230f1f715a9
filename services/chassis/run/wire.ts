import type Koa from 'koa'
import type { Client } from '../client/client.ts'
import { hasOperation } from '../contract/contract.ts'
import { type ServiceDefinition, sendsCommands } from '../contract/graph.ts'
import type { Implementation, Started, Wiring } from '../contract/implement.ts'
import { secretsOf } from '../contract/secrets.ts'
import { fetchesUserKeys } from '../contract/users.ts'
import { servesWorkloads } from '../contract/workload.ts'
import type { Database } from '../data/database.ts'
import type { CallCallee, Settle } from '../data/delivery.ts'
import { startHousekeeping } from '../data/housekeeping.ts'
import { purgeKeys } from '../data/idempotency.ts'
import { openOutbox } from '../data/outbox.ts'
import type { RelayOptions } from '../data/relay.ts'
import type { Verifier, Verifiers } from '../identity/auth.ts'
import { openUserVerifier } from '../identity/user-keys.ts'
import { openWorkloadVerifier } from '../identity/workload-identity.ts'
import { createGrpcApp } from '../server/grpc/pipeline.ts'
import { createHealth, type Health } from '../server/health.ts'
import { createApp, type Trust } from '../server/pipeline.ts'
import { shed } from '../server/shed.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import type { OwnConfig } from './config.ts'
import { refuseHandlers } from './refuse-handlers.ts'

// biome-ignore lint/suspicious/noExplicitAny: each has the contract of its callee
type AnyClient = Client<any>
type AnyStarted = Omit<Started<ServiceDefinition & { database: true }>, 'settle' | 'verifyUser'> & { settle?: unknown; verifyUser?: Verifier }

/** What a process holds for its service. */
export interface Resources extends Trust {
  config: OwnConfig
  runtime: Runtime
  /** By the callee's name. */
  clients: Record<string, AnyClient>
  database?: Database | undefined
  /** Who checks tokens, in place of those that the definition implies. */
  verifiers?: Verifiers
  /** false: messages of the outbox wait. @default the relay's own */
  relay?: false | Partial<RelayOptions>
}

/** A service as the process serves it. */
export interface Wired {
  app: Koa
  /** The same by gRPC. */
  grpc?: Koa
  health: Health
  /** Closed in order after the last request and before clients, telemetry and pool. */
  closers?: (() => Promise<unknown>)[]
}

/** For a service that sends no commands: an earlier version may have left messages in its outbox. Nobody waits for them. */
const LEFTOVERS: Partial<RelayOptions> = { pollMs: 10_000, listens: false }

/** Starts a service's own code and puts around it what its definition implies. */
export async function wireService<D extends ServiceDefinition>(implementation: Implementation<D>, resources: Resources): Promise<Wired> {
  const { service } = implementation
  const { config, runtime, clients, database, verifiers: given = {}, relay = {}, ...trust } = resources
  const pick = (names: readonly string[]) => Object.fromEntries(names.map(name => [name, config[name]]))
  const realm = { issuer: config.AUTH_ISSUER, audience: config.AUTH_AUDIENCE }
  const call: CallCallee = (scope, callee, operation, options) => (clients[callee] as AnyClient).call(scope, operation, options as never)
  const outbox = database && openOutbox({ ...runtime, service, database, call })
  const started = (await implementation.start({
    runtime,
    clients,
    database,
    outbox: outbox?.outbox,
    settings: pick(Object.keys(service.settings ?? {})),
    secrets: Object.fromEntries(secretsOf(service).map(({ name, env }) => [name, config[env]])),
    realm: config.AUTH_ISSUER === undefined ? undefined : realm,
  } as unknown as Wiring<D>)) as unknown as AnyStarted
  refuseHandlers(service, started?.handlers)
  const { handlers, verifyUser, checks = {}, closers = [], jobs, settle } = started

  const workload = servesWorkloads(service) && !given.workload ? await openWorkloadVerifier(service.name, config, runtime) : undefined
  const { AUTH_JWKS_URI: jwksUri, AUTH_ALGORITHMS: algorithms } = config
  const users = fetchesUserKeys(service) && !verifyUser && !given.user ? openUserVerifier({ ...realm, jwksUri, algorithms }, runtime) : undefined
  const user = verifyUser ?? users?.verify
  const options = {
    service,
    handlers,
    verifiers: { ...(user && { user }), ...(workload && { workload: workload.verify }), ...given },
    ...trust,
    shed: shed({ maxConcurrency: service.maxConcurrency }, runtime.metrics),
  }
  const app = createApp(runtime, options)
  const health = createHealth({ ...(database && { database: () => database.ping(900) }), ...checks })
  const grpc = service.grpc && createGrpcApp(runtime, { ...options, health })
  const own: (() => Promise<unknown>)[] = []
  for (const verifier of [workload, users]) if (verifier) own.push(async () => verifier.close())
  if (database) {
    const keys = hasOperation(service, ({ idempotencyKey }) => idempotencyKey) && {
      'idempotency-keys': (scope: Parameters<typeof purgeKeys>[1]) => purgeKeys(database, scope),
    }
    own.push(startHousekeeping({ ...runtime, jobs: { ...keys, ...jobs } }).close)
    const pace = sendsCommands(service) ? {} : LEFTOVERS
    if (outbox && relay) own.push(outbox.startRelay((settle ?? {}) as Settle<D>, { ...pace, ...relay }).close)
  }
  return { app, ...(grpc && { grpc }), health, closers: [...own, ...closers] }
}
