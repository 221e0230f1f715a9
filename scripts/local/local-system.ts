import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  ConfigError,
  databaseOf,
  edgeVariables,
  jwksOperation,
  loadConfig,
  localAdminPort,
  type ServiceDefinition,
  type SystemDefinition,
  secretsOf,
  takesOf,
} from '@fairlead/chassis'
import { ensureDatabase, freePort, type Postgres } from '@fairlead/chassis/local'
import { commonSettings } from '@fairlead/chassis/run'
import { environmentOf, ISSUER_STAND_IN, memoryVariables, misspeltSettings, serviceFields, serviceSettingsIn } from '@fairlead/infra/tools'
import { LOCAL_ISSUER, LOCAL_NAMESPACE, type LocalIssuer, openLocalIssuer } from './credentials.ts'
import { localSecret } from './local-secrets.ts'
import { type LocalPorts, migrate, type ServiceProcess, type StartOptions, startProcess } from './service-process.ts'
import { ensureUserIssuer, type UserIssuer } from './user-issuer.ts'

export interface LocalSystem {
  ports: Record<string, LocalPorts>
  /** Who stands in for an issuer outside the system. @default the system's users are its own */
  users: UserIssuer | undefined
  /** Path of a service's log. */
  logFile(service: string): string
  /** What `start` gives a service as its environment. */
  environment(service: ServiceDefinition): Record<string, string>
  /** Starts a service as a process of its own and waits until it is ready. */
  start(service: ServiceDefinition, options?: StartOptions): Promise<ServiceProcess>
  /** Writes every edge's workload token anew; they are good for an hour. */
  renewTokens(): Promise<void>
}

export interface LocalOptions {
  system: SystemDefinition
  /** Folder of the project: a service starts by services/NAME/main.ts. @default the folder of this process */
  root?: string
  dir: string
  /** Wanted where a service has a database. */
  postgres?: Postgres | undefined
  /** @default the graph's port, and 1000 above it for the admin port */
  portsOf?: (service: ServiceDefinition) => LocalPorts
  /** Where settings are that people may change. @default nowhere: each has its default */
  settings?: Record<string, string | undefined>
  /** Folder whose secrets/SERVICE/NAME has the secrets that nobody here can make. @default dir */
  brought?: string
  /** Ends what is under way: migrations, and the wait for a service to be ready. */
  signal?: AbortSignal
  /** Told of the process of a service as soon as it is there, e.g. to find it again. */
  onSpawn?: (name: string, pid: number) => Promise<void>
}

const NODE_OPTIONS = 'NODE_OPTIONS'

/** @returns the file's URL */
async function writeKeys(path: string, { jwks }: UserIssuer): Promise<string> {
  await writeFile(path, jwks)
  return pathToFileURL(path).href
}

/** Everything that the services need where there is no cluster, derived from the graph: databases, migrations, keys, tokens, settings. */
export async function prepareLocalSystem({
  system,
  root = process.cwd(),
  dir,
  postgres,
  portsOf = graphPorts,
  settings = {},
  brought = dir,
  signal = new AbortController().signal,
  onSpawn = async () => {},
}: LocalOptions): Promise<LocalSystem> {
  const mainOf = ({ name }: ServiceDefinition) => join(root, 'services', name, 'main.ts')
  await mkdir(join(dir, 'database-urls'), { recursive: true, mode: 0o700 })
  const issuer = await openLocalIssuer(join(dir, 'workload-tokens'))
  const users = await ensureUserIssuer(join(dir, ISSUER_STAND_IN), system)
  const standInKeys = users && (await writeKeys(join(dir, ISSUER_STAND_IN, 'jwks.json'), users))
  const ports = Object.fromEntries(system.services.map(service => [service.name, portsOf(service)]))
  const given = settingsFrom(settings, system)
  const envs = new Map<string, Record<string, string>>()
  for (const service of system.services) {
    const database = databaseOf(service)
    const identities = await writeTokens(service, issuer)
    const secrets = new Map<string, string>()
    for (const secret of secretsOf(service)) secrets.set(secret.name, await localSecret(secret.make ? dir : brought, service.name, secret))
    const places = {
      namespace: LOCAL_NAMESPACE,
      authIssuer: `https://${system.name}.localhost`,
      keysOf: ({ name }: ServiceDefinition) => `http://127.0.0.1:${ports[name]?.port}${jwksOperation.path}`,
      standInKeys,
      workloadIssuer: LOCAL_ISSUER,
      workloadJwks: issuer.jwksFile,
      databaseUrlFile: database !== undefined && postgres ? await writeDatabaseUrls(dir, postgres, service.name, database) : '',
      settings: given[service.name] ?? {},
      secretDir: (name: string) => secrets.get(name) as string,
      identityFile: (callee: string) => identities[callee] as string,
    }
    envs.set(service.name, {
      ...memoryVariables(service),
      HOST: '127.0.0.1',
      PORT: String(ports[service.name]?.port),
      ADMIN_PORT: String(ports[service.name]?.adminPort),
      ...(service.grpc && { GRPC_PORT: String(ports[service.name]?.grpcPort) }),
      ...environmentOf(system, service, places),
      ...calleeHosts(service, ports),
    })
  }
  const withDatabase = system.services.filter(({ database }) => database !== undefined)
  const ownersUrl = (service: ServiceDefinition) => ({ DATABASE_URL_FILE: ownerFile(join(dir, 'database-urls', service.name)) })
  await allOrNone(signal, one => withDatabase.map(service => migrate({ name: service.name, main: mainOf(service), env: ownersUrl(service) }, one)))
  const logFile = (service: string) => join(dir, `${service}.log`)
  const environment = (service: ServiceDefinition) => ({ ...envs.get(service.name) })
  return {
    ports,
    users,
    logFile,
    environment,
    renewTokens: async () => {
      for (const service of system.services) await writeTokens(service, issuer)
    },
    start: (service, options) =>
      startProcess(
        {
          name: service.name,
          main: mainOf(service),
          env: environment(service),
          ports: ports[service.name] as LocalPorts,
          logFile: logFile(service.name),
        },
        { signal, onSpawn, ...options },
      ),
  }
}

/** What of every service people may change, in all of them at once. */
const common = ({ services }: SystemDefinition) => Object.assign({}, ...services.map(commonSettings)) as ReturnType<typeof commonSettings>

/** The variables that people may set, one line each: for all services, for one, and for Node.js. */
export const describeChangeable = (system: SystemDefinition): string =>
  [
    ...Object.entries({ ...common(system), ...serviceFields(system) }).map(([name, schema]) => `  ${name}: ${takesOf(schema)}`),
    `  ${NODE_OPTIONS}: flags for Node.js`,
  ].join('\n')

/**
 * What an environment says of the settings of each service, by name.
 * @throws ConfigError naming each that it would not take or that lacks
 */
export function settingsFrom(env: Record<string, string | undefined>, system: SystemDefinition): Record<string, Record<string, string>> {
  const names = [...Object.keys(common(system)), NODE_OPTIONS]
  loadConfig({ ...common(system), ...serviceFields(system) }, env)
  const misspelt = misspeltSettings(env, system)
  if (misspelt.length > 0) throw new ConfigError(misspelt)
  const ofAll = Object.fromEntries(names.flatMap(name => (env[name] ? [[name, env[name]]] : [])))
  return Object.fromEntries(Object.entries(serviceSettingsIn(env, system)).map(([service, own]) => [service, { ...ofAll, ...own }]))
}

/** Where a service listens on a laptop, where they all share one address. @param offset added to each port */
export const graphPorts = ({ port, grpc }: Pick<ServiceDefinition, 'port' | 'grpc'>, offset = 0): LocalPorts => ({
  port: port + offset,
  adminPort: localAdminPort(port) + offset,
  ...(grpc && { grpcPort: grpc.port + offset }),
})

/** Ports that nobody listens on, for a service. */
export const freePorts = async ({ grpc }: ServiceDefinition): Promise<LocalPorts> => ({
  port: await freePort(),
  adminPort: await freePort(),
  ...(grpc && { grpcPort: await freePort() }),
})

/** A workload token for each edge. @returns their paths by callee */
async function writeTokens(service: ServiceDefinition, issuer: LocalIssuer): Promise<Record<string, string>> {
  const paths: Record<string, string> = {}
  for (const { to } of service.calls) paths[to.name] = await issuer.writeToken(service.name, to.name)
  return paths
}

/** Where each callee is: there is no DNS that knows. */
const calleeHosts = ({ calls }: ServiceDefinition, ports: Record<string, LocalPorts>) =>
  Object.fromEntries(
    calls.map(({ to, protocol }) => [edgeVariables(to.name).host, `127.0.0.1:${ports[to.name]?.[protocol === 'grpc' ? 'grpcPort' : 'port']}`]),
  )

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

/** Ends all of them as soon as one fails, and then throws what that one said. */
async function allOrNone(signal: AbortSignal, begin: (signal: AbortSignal) => Promise<void>[]): Promise<void> {
  const others = new AbortController()
  const failures: unknown[] = []
  const note = (error: unknown) => {
    failures.push(error)
    others.abort()
  }
  await Promise.all(begin(AbortSignal.any([signal, others.signal])).map(work => work.catch(note)))
  signal.throwIfAborted()
  if (failures.length > 0) throw failures[0]
}
