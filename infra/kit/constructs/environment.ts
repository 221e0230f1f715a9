import { callersOf, edgeVariables, type ServiceDefinition, type SystemDefinition } from '@fairlead/chassis'

/** Where a service finds what differs between a laptop and a pod. */
export interface Places {
  namespace: string
  /** Who signs users' access tokens, a URL. */
  authIssuer: string
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

/** The settings that a service gets because of its place in the graph: none of them is said anywhere else. */
export function environmentOf(system: SystemDefinition, service: ServiceDefinition, places: Places): Record<string, string> {
  const callers = callersOf(system, service)
  return {
    NAMESPACE: places.namespace,
    AUTH_ISSUER: places.authIssuer,
    AUTH_AUDIENCE: system.name,
    ...(service.database && { DATABASE_URL_FILE: places.databaseUrlFile }),
    ...Object.fromEntries((service.secrets ?? []).map(({ name, env }) => [env, places.secretDir(name)])),
    ...places.settings,
    ...(callers.length > 0 && {
      WORKLOAD_ISSUER: places.workloadIssuer,
      WORKLOAD_JWKS: places.workloadJwks,
      ...(places.workloadJwksCaFile && { WORKLOAD_JWKS_CA_FILE: places.workloadJwksCaFile }),
      WORKLOAD_CALLERS: callers.join(','),
    }),
    ...Object.fromEntries(service.calls.map(({ to }) => [edgeVariables(to.name).identityFile, places.identityFile(to.name)])),
  }
}
