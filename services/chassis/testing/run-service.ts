import { received, undefinedAnswer } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { toRequest } from '../client/http.ts'
import type { Operation, Outgoing, Received } from '../contract/contract.ts'
import type { Callee, CalleeName, ServiceDefinition } from '../contract/graph.ts'
import type { Implementation } from '../contract/implement.ts'
import { loadConfig } from '../contract/settings.ts'
import type { ServiceConfig } from '../run/config.ts'
import { type Resources, wireService } from '../run/wire.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { listen } from './listen.ts'
import { quietRuntime } from './runtime.ts'
import type { StandIn } from './stand-in.ts'
import { testVerifiers, workloadToken } from './tokens.ts'

export interface RunOptions<D extends ServiceDefinition> {
  /** Who answers in place of the services that it calls. One that is left out cannot be reached. */
  callees?: { [N in CalleeName<D>]?: StandIn<Callee<D, N>> }
  /** Its own settings, as text; those that are left out have their defaults. */
  settings?: Record<string, string>
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
}

/** Starts a service in this process, on a free port, as a process of its own would run it; `await using` ends it with the test. */
export async function runService<D extends ServiceDefinition>(
  implementation: Implementation<D>,
  { callees = {}, settings = {} }: NoInfer<RunOptions<D>> = {},
): Promise<RunningService<D>> {
  const { service } = implementation
  const runtime = quietRuntime(service.name)
  const standIns = callees as Record<string, StandIn<ServiceDefinition> | undefined>
  await using started = new AsyncDisposableStack()
  const clients: Resources['clients'] = {}
  for (const { to } of service.calls) {
    const standing = await standIns[to.name]?.start()
    if (standing) started.defer(standing.close)
    clients[to.name] = clientOf(service, to.name, runtime, standing?.host ?? NOBODY)
    started.defer(clients[to.name]?.close as () => Promise<void>)
  }
  const wired = await wireService(implementation, {
    config: configOf(service, settings),
    runtime,
    clients,
    verifiers: testVerifiers,
    loopDelay: { currentMs: () => 0, close: () => {} },
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
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

/** Nobody listens there: port 9 is "discard", and no test runs that. */
const NOBODY = '127.0.0.1:9'

const clientOf = (service: ServiceDefinition, callee: string, runtime: Runtime, host: string) =>
  createClient(service, callee, { ...runtime, host, workloadToken: () => workloadToken(service.name) })

/** Its own settings; what the graph gives a process, the test has made. */
function configOf(service: ServiceDefinition, settings: Record<string, string>): ServiceConfig {
  const unknown = Object.keys(settings).filter(name => !(name in (service.settings ?? {})))
  if (unknown.length > 0) throw new Error(`${service.name} has no setting ${unknown.join(', ')}`)
  return loadConfig(service.settings ?? {}, settings) as unknown as ServiceConfig
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
