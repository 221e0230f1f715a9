import type { Edge, Resources, ServiceDefinition } from './definition.ts'
import { DefinitionError } from './definition-error.ts'
import { refuseSecrets, secretsOf } from './secrets.ts'
import { type ForeignIssuer, usersProblems } from './users.ts'
import { edgeVariables, isTaken, settingVariable } from './variables.ts'

export type { CounterAlert, Edge, GrpcDefinition, MetricPanel, ProtoNumbers, Resources, ServiceDefinition, Slo } from './definition.ts'

/** Of an edge that names none. */
export const DEFAULT_MAX_ATTEMPTS = 2

/** As a team writes it: who calls nobody says nothing of calls. */
export type ServiceInput = Omit<ServiceDefinition, 'calls'> & Partial<Pick<ServiceDefinition, 'calls'>>

type CommandOf<C> = { [K in keyof C & string]: C[K] extends { auth: 'workload'; method: 'PUT' | 'DELETE' } ? K : never }[keyof C & string]

/** What an edge lacks. */
type WithCommands<E> = E extends { commands: readonly (infer N)[]; to: { contract: infer C } }
  ? [N] extends [CommandOf<C>]
    ? unknown
    : { commands: readonly CommandOf<C>[] }
  : unknown

/** Commands are such operations of the callee, and wait in the caller's database. */
type Checked<D> = D extends { calls: infer C extends readonly Edge[] }
  ? { calls: { [I in keyof C]: WithCommands<C[I]> } } & (Extract<C[number], { commands: readonly string[] }> extends never
      ? unknown
      : { database: true | string })
  : unknown

type Defined<D> = D & (D extends { calls: readonly Edge[] } ? unknown : { calls: readonly [] })

/** In a pod; never reachable from outside the cluster. */
export const ADMIN_PORT = 9_090

const LOCAL_ADMIN_OFFSET = 1_000

/** On a laptop, where all services share one address. */
export const localAdminPort = (port: number): number => port + LOCAL_ADMIN_OFFSET

/** Connections that each pod keeps to its database, by default. */
export const DEFAULT_POOL_SIZE = 10

export const DEFAULT_RESOURCES: Resources = {
  requests: { cpu: '100m', memory: '160Mi' },
  limits: { cpu: '1', memory: '384Mi' },
}

export interface SystemDefinition {
  name: string
  services: readonly ServiceDefinition[]
  /** Who issues users' access tokens: a service with a `jwksOperation`, or somebody outside. Needed where an operation has `auth: 'user'`. */
  users?: ServiceDefinition | ForeignIssuer
}

/** Checks one service's definition and keeps its literal types, so that a client for a missing edge does not compile. */
export function defineService<const D extends ServiceInput>(input: D & Checked<NoInfer<D>>): Defined<D> {
  const definition: ServiceDefinition = { calls: [], ...input }
  const { name, timeoutMs, calls, scale } = definition
  if (!/^[a-z]([-a-z0-9]{0,40}[a-z0-9])?$/.test(name)) throw new DefinitionError(`service name '${name}' is not a DNS label of at most 42 characters`)
  for (const one of portsOf(definition))
    if (!Number.isInteger(one) || one < 1024 || one > 65535) throw new DefinitionError(`${name}: port ${one} is not between 1024 and 65535`)
  if (!(scale.min >= 1 && scale.max >= scale.min))
    throw new DefinitionError(`${name}: scale.min ${scale.min} and scale.max ${scale.max} are no bounds: 1 <= min <= max`)
  if (!/^[a-z][-a-z0-9_]{0,62}$/.test(databaseOf(definition) ?? 'none'))
    throw new DefinitionError(
      `${name}: database '${definition.database}' is not a name of at most 63 characters (a-z, 0-9, - and _): true takes the service's`,
    )
  refuseSecrets(definition)
  refuseSettings(definition)
  for (const edge of calls) {
    if (edge.attemptTimeoutMs > timeoutMs) {
      throw new DefinitionError(`${name} -> ${edge.to.name}: attemptTimeoutMs ${edge.attemptTimeoutMs} exceeds ${name}'s timeoutMs ${timeoutMs}`)
    }
    if (edge.protocol === 'grpc' && !edge.to.grpc)
      throw new DefinitionError(
        `${name} -> ${edge.to.name}: protocol 'grpc', and ${edge.to.name} is not served by it: run npx fairlead proto ${edge.to.name}`,
      )
    for (const command of edge.commands ?? []) refuseCommand(definition, edge, command)
  }
  return definition as Defined<D>
}

/** Those that a service serves its operations on. */
export const portsOf = ({ port, grpc }: Pick<ServiceDefinition, 'port' | 'grpc'>): number[] => (grpc ? [port, grpc.port] : [port])

/** The callee's port that an edge leads to. */
export const portOf = ({ to, protocol }: Pick<Edge, 'to' | 'protocol'>): number => (protocol === 'grpc' && to.grpc ? to.grpc.port : to.port)

function refuseSettings(definition: ServiceDefinition): void {
  const { name, settings = {}, calls } = definition
  const taken = new Set([...secretsOf(definition).map(({ env }) => env), ...calls.map(({ to }) => edgeVariables(to.name).host)])
  for (const setting of Object.keys(settings)) {
    if (!/^[A-Z][A-Z0-9_]{0,62}$/.test(setting)) throw new DefinitionError(`${name}: the setting ${setting} is not in UPPER_CASE`)
    for (const variable of [setting, settingVariable(name, setting)])
      if (isTaken(variable) || taken.has(variable))
        throw new DefinitionError(`${name}: the setting ${setting} cannot have that name, since ${variable} has a meaning of its own`)
  }
}

function refuseCommand({ name, database }: ServiceDefinition, { to }: Edge, command: string): void {
  const operation = to.contract[command]
  const where = `${name} -> ${to.name}: the command ${command}`
  if (!operation) throw new DefinitionError(`${where} is no operation of ${to.name}, which has ${Object.keys(to.contract).join(', ')}`)
  if (operation.auth !== 'workload' || !['PUT', 'DELETE'].includes(operation.method))
    throw new DefinitionError(
      `${where} is ${operation.method} with auth '${operation.auth}': a command is PUT or DELETE with auth 'workload', since it may come again`,
    )
  if (database === undefined) throw new DefinitionError(`${where} needs an outbox, and ${name} has no database for one`)
}

/** Checks that names and ports are unique, on a laptop too, and that every callee is a member, all problems at once. */
export function defineSystem<const S extends SystemDefinition>(system: S): S {
  const problems: string[] = usersProblems(system)
  const seen = new Map<string | number, string>()
  for (const service of system.services) {
    for (const key of [service.name, ...portsOf(service)]) {
      const other = seen.get(key)
      if (other) problems.push(`${service.name} and ${other} both use ${typeof key === 'number' ? 'port' : 'name'} ${key}`)
      seen.set(key, service.name)
    }
    for (const own of portsOf(service)) {
      const admin = system.services.find(({ port }) => localAdminPort(port) === own)
      if (admin) problems.push(`${service.name}'s port ${own} is ${admin.name}'s admin port (${admin.port} + ${LOCAL_ADMIN_OFFSET})`)
    }
    const database = databaseOf(service)
    if (database !== undefined) {
      const key = `database ${database}`
      const other = seen.get(key)
      if (other) problems.push(`${service.name} and ${other} both have the database ${database}, which only one of them may have`)
      seen.set(key, service.name)
    }
    for (const { name } of secretsOf(service)) {
      const key = `secret ${name}`
      const other = seen.get(key)
      if (other) problems.push(`${service.name} and ${other} both have a secret ${name}, which only one of them may read`)
      seen.set(key, service.name)
    }
    for (const setting of Object.keys(service.settings ?? {})) {
      const variable = settingVariable(service.name, setting)
      const other = seen.get(variable)
      if (other) problems.push(`settings of ${service.name} and ${other} both are ${variable}`)
      seen.set(variable, service.name)
    }
    for (const edge of service.calls) {
      if (!system.services.includes(edge.to)) problems.push(`${service.name} calls ${edge.to.name}, which is not in the system`)
    }
  }
  if (problems.length > 0) throw new DefinitionError(`system ${system.name}: ${problems.join('; ')}`)
  return system
}

/** Names of the services that have an edge to `service`. */
export const callersOf = (system: SystemDefinition, service: ServiceDefinition): string[] =>
  system.services.filter(caller => caller.calls.some(edge => edge.to === service)).map(caller => caller.name)

/** Union of the names that a service may call, as literal types. */
export type CalleeName<D extends ServiceDefinition> = D['calls'][number] extends infer E ? (E extends Edge ? E['to']['name'] : never) : never

/** The definition behind one of a service's edges. */
export type Callee<D extends ServiceDefinition, N extends string> = Extract<D['calls'][number]['to'], { name: N }>

export function edgeTo(service: ServiceDefinition, name: string): Edge {
  const edge = service.calls.find(e => e.to.name === name)
  if (!edge) throw new DefinitionError(`${service.name} has no edge to ${name}; add { to: ${name}, ... } to its calls`)
  return edge
}

/** Name under which callers find all pods of a service (a headless Service on Kubernetes). */
export const podsHost = (service: ServiceDefinition): string => `${service.name}-pods`

/** The name of a service's database, if it has one. */
export const databaseOf = ({ name, database }: Pick<ServiceDefinition, 'name' | 'database'>): string | undefined =>
  database === true ? name : database

/** Whether a service sends commands, which wait in its outbox until they arrive. */
export const sendsCommands = ({ calls }: Pick<ServiceDefinition, 'calls'>): boolean => calls.some(({ commands = [] }) => commands.length > 0)

/** Whether a service has an outbox. Every service with a database does: it may still hold messages of commands that the service no longer sends. */
export const hasOutbox = ({ database }: Pick<ServiceDefinition, 'database'>): boolean => database !== undefined
