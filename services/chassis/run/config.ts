import { z } from 'zod'
import { ADMIN_PORT, DEFAULT_POOL_SIZE, edgeVariables, type ServiceDefinition } from '../contract/graph.ts'
import { LINGER_MS } from '../contract/timing.ts'
import { databaseUrlFile } from '../data/database-url.ts'

/** All problems of a configuration at once, one line each. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`the environment has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${problems.map(p => `  ${p}`).join('\n')}`)
    this.problems = problems
  }
}

/**
 * Reads settings from an environment. Pure: only `main.ts` passes `process.env`.
 * @param fields one zod schema a variable; its description says what the variable takes
 * @throws ConfigError naming every missing or wrong variable
 */
export function loadConfig<F extends Record<string, z.ZodType>>(
  fields: F,
  env: Record<string, string | undefined>,
): { [K in keyof F]: z.output<F[K]> } {
  const problems: string[] = []
  const config: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(fields)) {
    const text = env[name]
    const result = schema.safeParse(text === '' ? undefined : text)
    if (result.success) config[name] = result.data
    else
      problems.push(`${name} ${text ? `is wrong (${result.error.issues[0]?.message})` : 'is missing'}: it takes ${schema.description ?? 'a value'}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return config as never
}

export const port = (fallback: number) => z.coerce.number().int().min(0).max(65_535).default(fallback).describe('a port number; 0 picks a free one')

export const milliseconds = (fallback: number) => z.coerce.number().int().min(0).max(3_600_000).default(fallback).describe('whole milliseconds')

export const count = (fallback: number) => z.coerce.number().int().min(0).default(fallback).describe('a whole number')

export const seconds = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback).describe(`whole seconds, ${min} to ${max}`)

export const text = (what: string) => z.string().min(1).describe(what)

export const list = (what: string) =>
  z
    .string()
    .transform(value =>
      value
        .split(',')
        .map(item => item.trim())
        .filter(Boolean),
    )
    .describe(`${what}, separated by commas`)

/** The settings that every service has; the URL of a database only one that has one. */
export const baseConfig = (service: Pick<ServiceDefinition, 'port' | 'database'>) => ({
  HOST: z.string().optional().describe('the address to listen on'),
  PORT: port(service.port),
  ADMIN_PORT: port(ADMIN_PORT),
  DATABASE_URL_FILE: service.database === undefined ? z.undefined().describe('nothing: the service has no database') : databaseUrlFile,
  DATABASE_POOL_SIZE: count(DEFAULT_POOL_SIZE),
  NAMESPACE: text('the Kubernetes namespace'),
  TRUSTED_HOPS: count(0),
  INGRESS_TRACES: z
    .enum(['continue', 'link'])
    .default('link')
    .describe('continue (the ingress begins traces) or link (a request from outside begins a trace of its own)'),
  LINGER_MS: milliseconds(LINGER_MS),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('debug, info, warn or error'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional().describe('the URL of an OTLP/HTTP collector'),
})

/** Those of every service that people may change, on a laptop too; the graph gives the others. */
export const commonSettings = (service: Pick<ServiceDefinition, 'port' | 'database'>) => {
  const { DATABASE_POOL_SIZE, INGRESS_TRACES, LINGER_MS, LOG_LEVEL, OTEL_EXPORTER_OTLP_ENDPOINT } = baseConfig(service)
  return { DATABASE_POOL_SIZE, INGRESS_TRACES, LINGER_MS, LOG_LEVEL, OTEL_EXPORTER_OTLP_ENDPOINT }
}

/** What a service must be told of each service that it calls. */
export const edgeConfig = ({ calls }: Pick<ServiceDefinition, 'calls'>): Record<string, z.ZodType<string | undefined>> =>
  Object.fromEntries(
    calls.flatMap(({ to: { name } }) => [
      [edgeVariables(name).identityFile, text(`the path of our workload token for the ${name} service`)],
      [edgeVariables(name).host, text(`the name or address of the ${name} service; by default its headless Service`).optional()],
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
  WORKLOAD_CALLERS: list('names of the services that may call'),
}

export type WorkloadConfig = { [K in keyof typeof workloadConfig]: z.output<(typeof workloadConfig)[K]> }

/** The settings of `migrate`, which runs before the service and knows only its database. */
export const migrateConfig = {
  DATABASE_URL_FILE: databaseUrlFile,
  /** How long a database that is not there yet is waited for. */
  DATABASE_WAIT_MS: milliseconds(60_000),
}

export type BaseConfig = { [K in keyof ReturnType<typeof baseConfig>]: z.output<ReturnType<typeof baseConfig>[K]> }
