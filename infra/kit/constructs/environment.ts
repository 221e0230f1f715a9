import {
  callersOf,
  edgeVariables,
  fetchesUserKeys,
  foreignIssuerOf,
  issuesTokens,
  keysCalleeOf,
  type ServiceDefinition,
  type SystemDefinition,
  secretsOf,
  servesUsers,
  servesWorkloads,
} from '@fairlead/chassis'

/** Where a service finds what differs between a laptop and a pod. */
export interface Places {
  namespace: string
  /** The name of a service of the system that signs users' access tokens, a URL. */
  authIssuer: string
  /** Where a service of the system publishes the keys of its access tokens. */
  keysOf(issuer: ServiceDefinition): string
  /** Where the keys of a stand-in for a foreign issuer are, a URL. @default the issuer's own */
  standInKeys?: string | undefined
  /** Who signs workload tokens, a URL. */
  workloadIssuer: string
  /** Where its keys are: the path of a file, or an https URL. */
  workloadJwks: string
  /** Path of the authorities' certificates for that URL. */
  workloadJwksCaFile?: string
  databaseUrlFile: string
  /** Texts of its own settings, by name. */
  settings: Readonly<Record<string, string>>
  secretDir(name: string): string
  /** Our workload token for one callee. */
  identityFile(callee: string): string
}

/** Whether other services come to one, now or once an edge leads there: it needs to know the keys of their tokens. */
export const meetsWorkloads = (system: SystemDefinition, service: ServiceDefinition): boolean =>
  servesWorkloads(service) || callersOf(system, service).length > 0

/** The settings that a service gets because of its place in the graph: none of them is said anywhere else. */
export function environmentOf(system: SystemDefinition, service: ServiceDefinition, places: Places): Record<string, string> {
  const callers = callersOf(system, service)
  return {
    NAMESPACE: places.namespace,
    ...usersOf(system, service, places),
    ...(service.database && { DATABASE_URL_FILE: places.databaseUrlFile }),
    ...Object.fromEntries(secretsOf(service).map(({ name, env }) => [env, places.secretDir(name)])),
    ...places.settings,
    ...(meetsWorkloads(system, service) && {
      WORKLOAD_ISSUER: places.workloadIssuer,
      WORKLOAD_JWKS: places.workloadJwks,
      ...(places.workloadJwksCaFile && { WORKLOAD_JWKS_CA_FILE: places.workloadJwksCaFile }),
      ...(callers.length > 0 && { WORKLOAD_CALLERS: callers.join(',') }),
    }),
    ...Object.fromEntries(service.calls.map(({ to }) => [edgeVariables(to.name).identityFile, places.identityFile(to.name)])),
  }
}

/** How a service comes to know users: whose tokens it takes or issues, and the keys that verify them. */
function usersOf(system: SystemDefinition, service: ServiceDefinition, places: Places): Record<string, string> {
  if (!servesUsers(service) && !issuesTokens(service)) return {}
  const foreign = foreignIssuerOf(system)
  const realm = { AUTH_ISSUER: foreign?.issuer ?? places.authIssuer, AUTH_AUDIENCE: foreign?.audience ?? system.name }
  const issuer = keysCalleeOf(system, service)
  if (issuer) return { ...realm, AUTH_JWKS_URI: places.keysOf(issuer) }
  if (!foreign || !fetchesUserKeys(service)) return realm
  return { ...realm, AUTH_JWKS_URI: places.standInKeys ?? foreign.jwksUri, AUTH_ALGORITHMS: (foreign.algorithms ?? ['ES256', 'RS256']).join(',') }
}
