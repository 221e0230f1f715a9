import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { environmentOf } from '../infra/environment.ts'
import { edgeVariables, type ServiceDefinition, type SystemDefinition } from '../services/chassis/graph.ts'
import { LOCAL_ISSUER, LOCAL_NAMESPACE, type LocalIssuer, openLocalIssuer } from './credentials.ts'
import { localSecret } from './local-secrets.ts'
import { ensureDatabase, type Postgres } from './postgres.ts'
import { CommandError } from './terminal.ts'

export interface LocalPorts {
  port: number
  adminPort: number
}

export interface LocalSystem {
  ports: Record<string, LocalPorts>
  /** Path of a service's log. */
  logFile(service: string): string
  /** What `start` gives a service as its environment. */
  environment(service: ServiceDefinition): Record<string, string>
  /** Starts a service as a process of its own and waits until it is ready. */
  start(service: ServiceDefinition, options?: StartOptions): Promise<ServiceProcess>
  /** Writes every edge's workload token anew; they are good for an hour. */
  renewTokens(): Promise<void>
}

export interface StartOptions {
  env?: Record<string, string>
  /** Flags for node, before the program. */
  nodeFlags?: string[]
  /** @default 15000 */
  readyTimeoutMs?: number
}

export interface ServiceProcess {
  readonly child: ChildProcess
  readonly url: string
  readonly adminUrl: string
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>
  /** SIGTERM, and SIGKILL after `timeoutMs`. @default 15000 */
  stop(timeoutMs?: number): Promise<number | string>
}

export interface LocalOptions {
  system: SystemDefinition
  dir: string
  postgres: Postgres
  /** @default the graph's port, and 1000 above it for the admin port */
  portsOf?: (service: ServiceDefinition) => LocalPorts
}

const root = fileURLToPath(new URL('..', import.meta.url))
const mainOf = (service: ServiceDefinition) => join(root, 'services', service.name, 'main.ts')
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning']

/** Everything that the services need where there is no cluster, derived from the graph: databases, migrations, keys, tokens, settings. */
export async function prepareLocalSystem({ system, dir, postgres, portsOf = graphPorts }: LocalOptions): Promise<LocalSystem> {
  await mkdir(join(dir, 'database-urls'), { recursive: true, mode: 0o700 })
  const issuer = await openLocalIssuer(join(dir, 'workload-tokens'))
  const ports = Object.fromEntries(system.services.map(service => [service.name, portsOf(service)]))
  const envs = new Map<string, Record<string, string>>()
  for (const service of system.services) {
    const identities = await writeTokens(service, issuer)
    const secrets = new Map<string, string>()
    for (const secret of service.secrets ?? []) secrets.set(secret.name, await localSecret(dir, service.name, secret))
    const places = {
      namespace: LOCAL_NAMESPACE,
      authIssuer: `https://${system.name}.localhost`,
      workloadIssuer: LOCAL_ISSUER,
      workloadJwks: issuer.jwksFile,
      databaseUrlFile: service.database ? await writeDatabaseUrls(dir, postgres, service.name, service.database) : '',
      secretDir: (name: string) => secrets.get(name) as string,
      identityFile: (callee: string) => identities[callee] as string,
    }
    envs.set(service.name, {
      HOST: '127.0.0.1',
      PORT: String(ports[service.name]?.port),
      ADMIN_PORT: String(ports[service.name]?.adminPort),
      ...environmentOf(system, service, places),
      ...calleeHosts(service, ports),
    })
  }
  const withDatabase = system.services.filter(({ database }) => database !== undefined)
  await Promise.all(withDatabase.map(service => runMigrations(service, { DATABASE_URL_FILE: ownerFile(join(dir, 'database-urls', service.name)) })))
  const logFile = (service: string) => join(dir, `${service}.log`)
  const environment = (service: ServiceDefinition) => ({ ...envs.get(service.name) })
  return {
    ports,
    logFile,
    environment,
    renewTokens: async () => {
      for (const service of system.services) await writeTokens(service, issuer)
    },
    start: (service, options) => startProcess(service, environment(service), ports[service.name] as LocalPorts, logFile(service.name), options),
  }
}

/** Where a service listens on a laptop, where they all share one address. */
export const graphPorts = ({ port }: Pick<ServiceDefinition, 'port'>): LocalPorts => ({ port, adminPort: port + 1_000 })

/** A workload token for each edge. @returns their paths by callee */
async function writeTokens(service: ServiceDefinition, issuer: LocalIssuer): Promise<Record<string, string>> {
  const paths: Record<string, string> = {}
  for (const { to } of service.calls) paths[to.name] = await issuer.writeToken(service.name, to.name)
  return paths
}

/** Where each callee is: there is no DNS that knows. */
const calleeHosts = ({ calls }: ServiceDefinition, ports: Record<string, LocalPorts>) =>
  Object.fromEntries(calls.map(({ to }) => [edgeVariables(to.name).host, `127.0.0.1:${ports[to.name]?.port}`]))

/** Makes a service's database, and the files with its URLs. @returns the file of the role that serves; the owner's is beside it */
async function writeDatabaseUrls(dir: string, postgres: Postgres, service: string, database: string): Promise<string> {
  const file = join(dir, 'database-urls', service)
  const passwordIn = async (path: string) => {
    const known = await readFile(path, 'utf8').catch(() => undefined)
    return known ? decodeURIComponent(new URL(known).password) : randomBytes(24).toString('base64url')
  }
  const passwords = { password: await passwordIn(file), ownerPassword: await passwordIn(ownerFile(file)) }
  const { url, ownerUrl } = await ensureDatabase(postgres, database, passwords)
  await writeFile(file, url, { mode: 0o600 })
  await writeFile(ownerFile(file), ownerUrl, { mode: 0o600 })
  return file
}

const ownerFile = (file: string) => `${file}-owner`

async function runMigrations(service: ServiceDefinition, env: Record<string, string>): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, [...NODE_FLAGS, mainOf(service), 'migrate'], { env, timeout: 60_000 })
  } catch (error) {
    throw new CommandError(`migrating ${service.name} failed: ${reasonOf(error as ProcessFailure)}`)
  }
}

interface ProcessFailure extends Error {
  stdout?: string
  stderr?: string
}

/** What a process said last: in its log, or before it had one. */
function reasonOf({ stdout = '', stderr = '', message }: ProcessFailure): string {
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '').err.message
  } catch {
    return stderr.trim() || stdout.trim() || message
  }
}

async function startProcess(
  service: ServiceDefinition,
  base: Record<string, string>,
  { port, adminPort }: LocalPorts,
  logFile: string,
  { env = {}, nodeFlags = [], readyTimeoutMs = 15_000 }: StartOptions = {},
): Promise<ServiceProcess> {
  const log = await open(logFile, 'a', 0o600)
  const logStart = (await log.stat()).size
  // A process group of its own: Ctrl-C reaches the parent alone, which then stops the services in order.
  const child = spawn(process.execPath, [...NODE_FLAGS, ...nodeFlags, mainOf(service)], {
    env: { ...base, ...env },
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  })
  await log.close()
  const ended = new Promise<number | string>(resolve => child.once('exit', (code, signal) => resolve(signal ?? code ?? 1)))
  const running: ServiceProcess = {
    child,
    url: `http://127.0.0.1:${port}`,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    ended,
    stop: async (timeoutMs = 15_000) => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
      try {
        return await ended
      } finally {
        clearTimeout(timer)
      }
    },
  }
  await waitUntilReady(running, service.name, readyTimeoutMs, async () => (await readFile(logFile, 'utf8')).slice(logStart))
  return running
}

async function waitUntilReady(
  { adminUrl, child, stop }: ServiceProcess,
  name: string,
  timeoutMs: number,
  newLog: () => Promise<string>,
): Promise<void> {
  const endsAt = performance.now() + timeoutMs
  let last = 'no answer yet'
  while (performance.now() < endsAt) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new CommandError(`${name} ended with ${child.signalCode ?? child.exitCode}: ${(await newLog()).trim().split('\n').slice(-5).join('\n')}`)
    try {
      const answer = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(1_000) })
      if (answer.ok) return
      last = (await answer.text()).trim()
    } catch (error) {
      last = ((error as Error).cause as Error | undefined)?.message ?? (error as Error).message
    }
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  await stop()
  throw new CommandError(`${name} was not ready after ${timeoutMs} ms; last seen: ${last}`)
}
