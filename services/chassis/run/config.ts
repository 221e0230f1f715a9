import { z } from 'zod'
import { parseCalleePlace } from '../contract/callee-place.ts'
import { parseDnsServer } from '../contract/dns-server.ts'
import { ADMIN_PORT, DEFAULT_POOL_SIZE, type ServiceDefinition } from '../contract/graph.ts'
import { secretsOf } from '../contract/secrets.ts'
import { count, list, loadConfig, milliseconds, port, text } from '../contract/settings.ts'
import { LINGER_MS } from '../contract/timing.ts'
import { fetchesUserKeys, issuesTokens, servesUsers } from '../contract/users.ts'
import { edgeVariables } from '../contract/variables.ts'
import { servesWorkloads } from '../contract/workload.ts'
import { databaseUrlFile } from '../data/database-url.ts'

/** The settings that every service has; the URL of a database only one that has one. */
export const baseConfig = (service: Pick<ServiceDefinition, 'port' | 'database' | 'grpc'>) => ({
  HOST: z.string().optional().describe('the address to listen on'),
  PORT: port(service.port),
  ADMIN_PORT: port(ADMIN_PORT),
  GRPC_PORT: service.grpc ? port(service.grpc.port) : z.undefined().describe('nothing: the service is not served by gRPC'),
  DATABASE_URL_FILE: service.database === undefined ? z.undefined().describe('nothing: the service has no database') : databaseUrlFile,
  DATABASE_POOL_SIZE: count(DEFAULT_POOL_SIZE, 'connections that it keeps to its database'),
  NAMESPACE: text('the Kubernetes namespace'),
  TRUSTED_HOPS: count(0),
  INGRESS_TRACES: z
    .enum(['continue', 'link'])
    .default('link')
    .describe('continue (the ingress begins traces) or link (a request from outside begins a trace of its own)'),
  LINGER_MS: milliseconds(LINGER_MS, 'how long it accepts connections after SIGTERM'),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('debug, info, warn or error'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional().describe('the URL of an OTLP/HTTP collector'),
})

/** Those of every service that people may change, on a laptop too; the graph gives the others. */
export const commonSettings = (service: Pick<ServiceDefinition, 'port' | 'database'>) => {
  const { DATABASE_POOL_SIZE, INGRESS_TRACES, LINGER_MS, LOG_LEVEL, OTEL_EXPORTER_OTLP_ENDPOINT } = baseConfig(service)
  return { DATABASE_POOL_SIZE, INGRESS_TRACES, LINGER_MS, LOG_LEVEL, OTEL_EXPORTER_OTLP_ENDPOINT }
}

/** Texts that a function can read. */
const readable = <S extends z.ZodType<string | string[]>>(schema: S, read: (text: string) => unknown) =>
  schema.superRefine((value, context) => {
    try {
      for (const one of [value].flat()) read(one)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
    }
  })

/** Of a service that calls others: how it finds them. */
const registryConfig = {
  DISCOVERY: z
    .enum(['dns', 'srv'])
    .default('dns')
    .describe('dns (the addresses of a callee, with the port of its definition) or srv (its SRV records: ports, priorities and weights, too)'),
  DISCOVERY_DOMAIN: text('cluster.local', "the cluster's domain, for the names of SRV records"),
  DISCOVERY_SERVER: readable(list('').pipe(z.array(z.string()).min(1)), parseDnsServer)
    .optional()
    .describe('addresses of DNS servers that know SRV records, e.g. 127.0.0.1:8600, separated by commas; by default those of /etc/resolv.conf'),
}

export type RegistryConfig = { [K in keyof typeof registryConfig]: z.output<(typeof registryConfig)[K]> }

/** What a service must be told of each service that it calls. */
const edgeConfig = ({ calls }: Pick<ServiceDefinition, 'calls'>): Record<string, z.ZodType> =>
  Object.fromEntries(
    calls.flatMap(({ to: { name } }) => [
      [edgeVariables(name).identityFile, text(`the path of our workload token for the ${name} service`)],
      [
        edgeVariables(name).host,
        readable(text(`where the ${name} service is: host, host:port or srv:name; by default its headless Service`), parseCalleePlace).optional(),
      ],
    ]),
  )

/** The settings of a service that others call: who signs their tokens, and who they may be. */
export const workloadConfig = {
  WORKLOAD_ISSUER: text("the cluster's token issuer, a URL"),
  WORKLOAD_JWKS: z
    .string()
    .regex(/^(https:\/\/|(?!.*:\/\/))./, { message: 'it is another URL' })
    .describe("where the issuer's keys are: the path of a file, or an https URL"),
  WORKLOAD_JWKS_CA_FILE: text("the path of the authorities' certificates for that URL").optional(),
  WORKLOAD_CALLERS: list('names of the services that may call').default([]),
}

export type WorkloadConfig = { [K in keyof typeof workloadConfig]: z.output<(typeof workloadConfig)[K]> }

/** Of a service that knows users: who issues their access tokens, and for whom. */
const realmConfig = {
  AUTH_ISSUER: text('the issuer of access tokens, a URL'),
  AUTH_AUDIENCE: text('the audience of access tokens'),
}

/** Of a service that verifies them by keys that it fetches. */
const userKeysConfig = {
  AUTH_JWKS_URI: z.url({ protocol: /^(https?|file)$/ }).describe("where the issuer's keys are: an http, https or file URL"),
  AUTH_ALGORITHMS: list('algorithms by which a foreign issuer signs')
    .pipe(z.array(z.enum(['EdDSA', 'ES256', 'PS256', 'RS256'])).min(1))
    .optional()
    .describe('EdDSA, ES256, PS256 or RS256, separated by commas: how a foreign issuer signs'),
}

/** What a service's own part needs of its configuration. */
export type OwnConfig = WorkloadConfig &
  RegistryConfig & { [K in keyof typeof realmConfig]: string } & {
    [K in keyof typeof userKeysConfig]: z.output<(typeof userKeysConfig)[K]>
  } & { NAMESPACE: string; [name: string]: unknown }

/** Everything that the environment says. What a service has no use for is not there, whatever the type says. */
export type ServiceConfig = BaseConfig & OwnConfig

/**
 * Every variable that a service reads: what all have, and what its definition brings along.
 */
export const serviceConfig = (service: ServiceDefinition): Record<string, z.ZodType> => ({
  ...baseConfig(service),
  ...Object.fromEntries(secretsOf(service).map(({ name, env }) => [env, text(`the folder of the secret ${name}`)])),
  ...((servesUsers(service) || issuesTokens(service)) && realmConfig),
  ...(fetchesUserKeys(service) && userKeysConfig),
  ...(servesWorkloads(service) && workloadConfig),
  ...(service.calls.length > 0 && registryConfig),
  ...edgeConfig(service),
  ...service.settings,
})

/** @throws ConfigError naming every missing or wrong variable */
export const loadServiceConfig = (service: ServiceDefinition, env: Record<string, string | undefined>): ServiceConfig =>
  loadConfig(serviceConfig(service), env) as unknown as ServiceConfig

/** The settings of `migrate`, which runs before the service and knows only its database. */
export const migrateConfig = {
  DATABASE_URL_FILE: databaseUrlFile,
  /** How long a database that is not there yet is waited for. */
  DATABASE_WAIT_MS: milliseconds(60_000),
}

export type BaseConfig = { [K in keyof ReturnType<typeof baseConfig>]: z.output<ReturnType<typeof baseConfig>[K]> }
