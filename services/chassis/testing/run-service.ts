import type { z } from 'zod'
import { received, undefinedAnswer } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { toRequest } from '../client/http.ts'
import type { Operation, Outgoing, Received } from '../contract/contract.ts'
import type { Callee, CalleeName, ServiceDefinition } from '../contract/graph.ts'
import type { Implementation } from '../contract/implement.ts'
import { secretsOf } from '../contract/secrets.ts'
import { ConfigError, loadConfig, takesOf } from '../contract/settings.ts'
import { type Database, openDatabase } from '../data/database.ts'
import type { ServiceConfig } from '../run/config.ts'
import { type Resources, wireService } from '../run/wire.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { type TestDatabase, testDatabase } from './database.ts'
import { listen } from './listen.ts'
import { outboxEmpty } from './outbox-empty.ts'
import { quietRuntime } from './runtime.ts'
import type { StandIn } from './stand-in.ts'
import { testVerifiers, workloadToken } from './tokens.ts'

export interface RunOptions<D extends ServiceDefinition> {
  /** Who answers in place of the services that it calls. One that is left out cannot be reached. */
  callees?: { [N in CalleeName<D>]?: StandIn<Callee<D, N>> }
  /** Its own settings, as text; those that are left out have their defaults. */
  settings?: Record<string, string>
  /** Folders of its secrets, by name; one that it declares has to be here. */
  secrets?: Record<string, string>
}

export type Ask<O extends Operation> = Outgoing<O> & {
  /** Who asks: a token of `userToken` or `workloadToken`. */
  as?: string
  headers?: Record<string, string>
}

export interface RunningService<D extends ServiceDefinition> extends AsyncDisposable {
  /** Where it listens, e.g. `http://127.0.0.1:41234`. */
  readonly url: string
  /**
   * Asks for one operation over HTTP.
   * @throws Error for an answer that the contract does not declare, a 5xx among them
   */
  call<K extends keyof D['contract'] & string>(operation: K, options: Ask<D['contract'][K]>): Promise<Received<D['contract'][K]>>
  /** Plain SQL on its database. @throws Error where it has none */
  sql<Row = Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]>
  /**
   * Waits until every message of its outbox is delivered and settled.
   * @throws Error naming those that are not, after ten seconds or once one is parked
   */
  outboxEmpty(): Promise<void>
}

/** Starts a service in this process, on a free port, as a process of its own would run it; `await using` ends it with the test. */
export async function runService<D extends ServiceDefinition>(
  implementation: Implementation<D>,
  { callees = {}, settings = {}, secrets = {} }: NoInfer<RunOptions<D>> = {},
): Promise<RunningService<D>> {
  const { service } = implementation
  const runtime = quietRuntime(service.name)
  const standIns = callees as Record<string, StandIn<ServiceDefinition> | undefined>
  await using started = new AsyncDisposableStack()
  const clients: Resources['clients'] = {}
  for (const { to, protocol } of service.calls) {
    const standing = await standIns[to.name]?.start(protocol)
    if (standing) started.defer(standing.close)
    clients[to.name] = clientOf(service, to.name, runtime, standing?.host ?? NOBODY)
    started.defer(clients[to.name]?.close as () => Promise<void>)
  }
  const db = await databaseOf(implementation, runtime, started)
  const wired = await wireService(implementation, {
    config: configOf(service, settings, secrets),
    runtime,
    clients,
    database: db?.database,
    relay: { pollMs: 50, maxBackoffMs: 200 },
    verifiers: testVerifiers,
    trustedHops: 0,
  })
  for (const close of (wired.closers ?? []).toReversed()) started.defer(async () => void (await close()))
  const { host, close } = await listen(wired.app)
  started.defer(close)
  const url = `http://${host}`
  const running = started.move()
  return {
    url,
    call: (name, options) => ask(url, service, name, options) as never,
    sql: (text, values) => sqlOf(service, db)(text, values) as never,
    outboxEmpty: () => outboxEmpty(sqlOf(service, db)),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

interface OpenedDatabase extends TestDatabase {
  database: Database
}

async function databaseOf(
  { service, migrations }: { service: ServiceDefinition; migrations?: URL | undefined },
  runtime: Runtime,
  started: AsyncDisposableStack,
) {
  if (service.database === undefined || migrations === undefined) return undefined
  const made = await testDatabase(migrations, runtime.log)
  started.defer(made.close)
  const database = openDatabase({ ...runtime, url: made.url, service: service.name, statementTimeoutMs: service.timeoutMs })
  started.defer(() => database.close(2_000))
  return { ...made, database } satisfies OpenedDatabase
}

function sqlOf({ name }: ServiceDefinition, database: TestDatabase | undefined): TestDatabase['sql'] {
  if (!database) throw new Error(`${name} has no database`)
  return database.sql
}

/** Nobody listens there: port 9 is "discard", and no test runs that. */
const NOBODY = '127.0.0.1:9'

const clientOf = (service: ServiceDefinition, callee: string, runtime: Runtime, host: string) =>
  createClient(service, callee, { ...runtime, host, workloadToken: () => workloadToken(service.name) })

/** For those who issue tokens. */
const REALM = { AUTH_ISSUER: 'https://users.test', AUTH_AUDIENCE: 'test' }

/** Its own settings; what the graph gives a process, the test has made. */
function configOf(service: ServiceDefinition, settings: Record<string, string>, secrets: Record<string, string>): ServiceConfig {
  const unknown = Object.keys(settings).filter(name => !(name in (service.settings ?? {})))
  if (unknown.length > 0) throw new Error(`${service.name} has no setting ${unknown.join(', ')}`)
  const folders = secretsOf(service).map(({ name, env }) => [env, secrets[name]])
  const [missing] = secretsOf(service).filter(({ name }) => !secrets[name])
  if (missing)
    throw new Error(`${service.name} declares the secret ${missing.name}: give runService() its folder, { secrets: { '${missing.name}': ... } }`)
  return { ...ownSettings(service, settings), ...Object.fromEntries(folders), ...REALM } as unknown as ServiceConfig
}

/** As a process reads them; what is missing is said of the test, which has no environment. */
function ownSettings({ name, settings = {} }: ServiceDefinition, given: Record<string, string>): Record<string, unknown> {
  try {
    return loadConfig(settings, given)
  } catch (error) {
    if (!(error instanceof ConfigError) || error.missing.length === 0) throw error
    const missing = error.missing.map(setting => `${setting} is missing (${takesOf(settings[setting] as z.ZodType)})`).join(', ')
    const wanted = error.missing.map(setting => `${setting}: '...'`).join(', ')
    const implementation = `${name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())}Service`
    const it = error.missing.length === 1 ? 'it' : 'them'
    throw new Error(`${missing}: give ${it} to runService(${implementation}, { settings: { ${wanted} } })`)
  }
}

async function ask(url: string, service: ServiceDefinition, name: string, { as, ...options }: { as?: string }): Promise<unknown> {
  const operation = service.contract[name] as Operation
  const { path, headers, body } = toRequest(operation, { ...options, ...(as !== undefined && { token: as }) })
  const answer = await fetch(url + path, { method: operation.method, headers, body, redirect: 'manual', signal: AbortSignal.timeout(20_000) })
  const text = await answer.text()
  const isJson = /^application\/(problem\+)?json\b/.test(answer.headers.get('content-type') ?? '')
  const raw = { status: answer.status, body: isJson && text !== '' ? JSON.parse(text) : undefined }
  const failure = undefinedAnswer(raw, operation, name, service.name)
  if (failure) throw failure
  return received(raw)
}
