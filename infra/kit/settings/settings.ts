import { isIP } from 'node:net'
import { ConfigError, foreignIssuerOf, loadConfig, type SystemDefinition, takesOf } from '@fairlead/chassis'
import { z } from 'zod'
import { callees, dnsServers } from './callees.ts'
import { cidrs, formatted, labels, listOf, optional, ownNamespace, textOf } from './fields.ts'
import { formats, isOf } from './formats.ts'
import { type ImageName, type ImageOverride, pinned } from './images.ts'
import { otlpEndpoint } from './otlp.ts'
import { resolvers, targets } from './peers.ts'
import { misspeltSettings, type ServiceSettings, serviceFields, serviceSettingsIn } from './service-settings.ts'
import { settingsProblems } from './settings-rules.ts'

function parseImage(text: string): ImageOverride {
  const [name = '', reference = ''] = text.split(/=(.*)/)
  if (!(name in pinned)) throw new Error(`${name} is none of ${Object.keys(pinned).join(', ')}`)
  if (!isOf(formats.image, reference)) throw new Error(`${reference || text} is not ${formats.image.takes}`)
  return { name: name as ImageName, reference }
}

function parseHeaderName(text: string): string {
  if (!isOf(formats.headerName, text)) throw new Error(`${text} is not ${formats.headerName.takes}`)
  return text
}

function parseEndpoint(text: string): { address: string; port: number } {
  const [, six = '', four = '', port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  if (isIP(six || four) === 0 || Number(port) > 65_535) throw new Error(`${text} is no address with a port`)
  return { address: six || four, port: Number(port) }
}

const flag = (fallback: boolean, what: string) =>
  z
    .enum(['true', 'false'])
    .default(fallback ? 'true' : 'false')
    .transform(value => value === 'true')
    .describe(`true or false: ${what}`)

const port = (fallback: number, what: string) => z.coerce.number().int().min(1).max(65_535).default(fallback).describe(what)

/** All that differs between environments, as variables of the synth; the defaults are those of a kind cluster. */
const settingFields = {
  CLUSTER: z
    .enum(['kind', 'other'])
    .default('kind')
    .describe('kind or other: which of them the defaults are for; commands with a context go by its name (kind-...)'),
  PLATFORM: z
    .enum(['bundled', 'existing'])
    .describe('bundled (brings all that a bare cluster lacks) or existing (attaches to what runs); by default bundled on kind, else existing'),
  HOST: formatted(formats.hostName, 'the host name of the ingress; by default that of the system under localhost'),
  NAMESPACE: ownNamespace("the namespace of the services, which has to be theirs alone; by default the system's name"),
  IMAGE_REGISTRY: formatted(formats.registry, 'what stands before /<service>:<tag>', 'fairlead'),
  IMAGE_TAG: optional(formats.imageTag, 'the tag of every service image; by default the digest of its content'),
  IMAGE_PULL_POLICY: z.enum(['IfNotPresent', 'Always', 'Never']).default('IfNotPresent').describe('IfNotPresent, Always or Never'),
  IMAGE_MIRROR: optional(
    formats.registry,
    "a registry with a copy of every image that is not ours, under its whole name, e.g. IMAGE_MIRROR/docker.io/library/traefik; by default each image's own",
  ),
  IMAGES: listOf(
    parseImage,
    `images in place of pinned ones, as name=reference: ${Object.keys(pinned).join(', ')}; e.g. node=registry.example/node@sha256:...`,
  ),
  ROUTE: z.enum(['ingress', 'gateway']).default('ingress').describe('ingress or gateway (HTTPRoute)'),
  INGRESS_CLASS: formatted(formats.objectName, 'the IngressClass'),
  INGRESS_NAMESPACE: formatted(formats.namespace, 'the namespace of the ingress controller or gateway'),
  GATEWAY: formatted(formats.objectName, "the Gateway in INGRESS_NAMESPACE, for ROUTE=gateway; by default the system's name"),
  DATABASE: z
    .enum(['bundled', 'external'])
    .default('bundled')
    .describe('bundled (a Postgres beside the services) or external (Secrets <service>-database and <service>-database-owner)'),
  DATABASE_CIDR: cidrs('where an external database is; needed for DATABASE=external'),
  DATABASE_PORT: port(5_432, 'the port of an external database'),
  /** The services keep idle connections for longer than this. */
  INGRESS_IDLE_MS: z.coerce.number().int().positive().default(90_000).describe('how long the ingress keeps an idle connection, in milliseconds'),
  TRUSTED_HOPS: z.coerce.number().int().min(0).default(1).describe('how many proxies in front append to X-Forwarded-For'),
  TRUSTED_PROXIES: cidrs('where the proxies in front of the bundled ingress are; needed for TRUSTED_HOPS above 1'),
  INGRESS_SOURCE_REQUESTS: z.coerce
    .number()
    .int()
    .positive()
    .default(50)
    .describe(
      'how many requests of one source the bundled ingress has in flight at once, per public path and entry point; beyond that it answers 429',
    ),
  /** A body of 64 KiB at 7 KB/s just makes it; what takes longer ends here, whatever is missing. */
  INGRESS_READ_MS: z.coerce
    .number()
    .int()
    .positive()
    .default(10_000)
    .describe('how long a request may take to arrive at the bundled ingress, head and body, in milliseconds'),
  HTTP: z
    .enum(['redirect', 'plain'])
    .optional()
    .describe(
      'redirect (plain HTTP is sent to https, whose answers carry HSTS) or plain (served as it is); by default plain for a HOST under localhost, else redirect',
    ),
  HTTPS_PORT: port(443, 'the port at which clients reach https, which redirects name'),
  INGRESS_TRACES: z
    .enum(['continue', 'link'])
    .default('continue')
    .describe('continue (the ingress begins traces, as the bundled one does) or link (each request begins one of its own)'),
  TLS: z
    .enum(['local', 'external'])
    .default('local')
    .describe("local (a certificate of this machine's own authority) or external (cert-manager's or yours, which nothing here touches)"),
  TLS_SECRET: formatted(
    formats.objectName,
    'the Secret with the certificate of HOST, beside the bundled ingress or else beside the services; by default <system>-tls',
  ),
  API_SERVER: listOf(
    parseEndpoint,
    'addresses and ports of the API server, in front of it and behind, that the bundled programs may reach (up and deploy find them), e.g. 10.96.0.1:443,172.18.0.2:6443',
  ),
  DNS: resolvers(),
  DISCOVERY: z
    .enum(['dns', 'srv'])
    .default('dns')
    .describe(
      "dns (a caller looks up its callee's addresses, and knows the port) or srv (it asks for the SRV records of the callee's named port, which have priorities and weights, too)",
    ),
  DISCOVERY_DOMAIN: formatted(formats.hostName, "the cluster's domain, in which SRV records are", 'cluster.local'),
  DISCOVERY_SERVER: dnsServers(),
  CALLEES: callees(),
  CALLEES_AT: targets('where these services are'),
  ALERTS_SECRET: optional(
    formats.objectName,
    'the Secret in MONITORING_NAMESPACE whose alertmanager.yaml says whom the bundled Alertmanager tells of alerts; by default nobody',
  ),
  ALERTS_TO: targets('where these receivers are'),
  MONITORING_NAMESPACE: formatted(formats.namespace, 'the namespace of Prometheus'),
  MONITORING_LABELS: labels('', 'labels by which Prometheus selects ServiceMonitors and PrometheusRules'),
  DASHBOARD_LABELS: labels('grafana_dashboard=1', "labels by which Grafana's sidecar selects ConfigMaps"),
  RUNBOOKS: z
    .string()
    .regex(/^\S+$/, { message: 'it has blanks' })
    .default('docs/runbooks')
    .describe('where alerts send people: the URL that docs/runbooks is published at, or the folder'),
  GRAFANA: flag(true, 'whether the bundled platform has Grafana'),
  TRACING_NAMESPACE: formatted(formats.namespace, 'the namespace that receives traces'),
  OTLP_ENDPOINT: otlpEndpoint(),
  OTLP_CIDR: cidrs('where that host is, when it is outside the cluster'),
  OTLP_HEADERS: listOf(
    parseHeaderName,
    'names of headers that it asks for; their values are the keys of these names in the Secret otlp-headers beside the services',
  ),
  OTLP_CA: optional(
    formats.objectName,
    "a ConfigMap beside the services with the authorities' certificates for that host in its key ca.crt; by default the public ones",
  ),
  WORKLOAD_ISSUER: formatted(formats.issuer, "the cluster's ServiceAccount token issuer", 'https://kubernetes.default.svc.cluster.local'),
  WORKLOAD_JWKS: z
    .union([z.literal('file'), textOf(formats.url)])
    .default('file')
    .describe("file (a copy of the issuer's keys, which npx fairlead secrets and deploy make) or the https URL where the issuer publishes them"),
  WORKLOAD_JWKS_CIDR: cidrs('where that URL is; needed for a URL'),
  WORKLOAD_JWKS_CA: optional(
    formats.objectName,
    "a ConfigMap beside the services with the authorities' certificates for that URL in its key ca.crt, e.g. kube-root-ca.crt; by default the public ones",
  ),
  USERS_JWKS: z
    .enum(['issuer', 'stand-in'])
    .default('issuer')
    .describe(
      "issuer (a foreign issuer's own keys, by its jwksUri) or stand-in (a key of this machine's takes its place, with which npx fairlead token makes users' tokens); by default stand-in on kind, and issuer anywhere else",
    ),
  USERS_JWKS_CIDR: cidrs("where a foreign issuer's keys of users' tokens are; needed for PLATFORM=existing, by default any address"),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('debug, info, warn or error'),
} as const

type OwnSettings = { [K in keyof typeof settingFields]: z.output<(typeof settingFields)[K]> }

export type Settings = OwnSettings & {
  /** What is said of settings of the services; the others have their defaults. */
  SERVICES: ServiceSettings
}

/** Names under localhost never leave the machine (RFC 6761 section 6.3), so a password may go to them without TLS. */
export const redirectsHttp = ({ HTTP, HOST }: Pick<Settings, 'HTTP' | 'HOST'>): boolean =>
  (HTTP ?? (/(^|\.)localhost$/.test(HOST) ? 'plain' : 'redirect')) === 'redirect'

/** One line per setting, for a command's --help. */
export const describeSettings = (system: Pick<SystemDefinition, 'services'>): string =>
  Object.entries({ ...serviceFields(system), ...settingFields })
    .map(([name, field]) => `  ${name}: ${takesOf(field)}`)
    .join('\n')

type Env = Record<string, string | undefined>

const isKind = ({ CLUSTER }: Env): boolean => CLUSTER !== 'other'

/** Said to be so, or nothing at all is said: PLATFORM=bundled alone may be any cluster. */
const isSurelyKind = ({ CLUSTER, PLATFORM }: Env): boolean => CLUSTER === 'kind' || !(CLUSTER || PLATFORM)

/** Whose name is in defaults, and whose services have settings of their own. */
type Named = Pick<SystemDefinition, 'name' | 'services' | 'users'>

/**
 * What a system is called, unless somebody says otherwise, and what is known of a platform that is made here. Of an existing one only its owner knows it, so that it has no default there: a wrong one
 * would leave routes, metrics and traces without anybody who serves them, and say nothing.
 */
function withDefaults(env: Env, { name }: Pick<Named, 'name'>): Env {
  const said = Object.fromEntries(Object.entries(env).filter(([, value]) => value))
  const named: Env = { HOST: `${name}.localhost`, NAMESPACE: name, GATEWAY: name, TLS_SECRET: `${name}-tls` }
  const PLATFORM = env.PLATFORM || (isKind(env) ? 'bundled' : 'existing')
  // Who is outside is in no namespace.
  if (PLATFORM === 'existing')
    return { ...named, ...said, PLATFORM, ...(env.OTLP_CIDR && { TRACING_NAMESPACE: env.TRACING_NAMESPACE || env.MONITORING_NAMESPACE }) }
  const TRACING_NAMESPACE = env.TRACING_NAMESPACE || 'observability'
  const bundled: Env = {
    INGRESS_CLASS: 'traefik',
    INGRESS_NAMESPACE: 'ingress',
    MONITORING_NAMESPACE: 'observability',
    TRACING_NAMESPACE,
    OTLP_ENDPOINT: `http://jaeger.${TRACING_NAMESPACE}:4317`,
    ...(isSurelyKind(env) && { USERS_JWKS: 'stand-in' }),
  }
  return { ...named, ...bundled, ...said, PLATFORM }
}

/** On a cluster of one's own a service reaches no address that nobody named, and believes no key of somebody's laptop. */
const usersKeysProblems = ({ CLUSTER, PLATFORM, USERS_JWKS, USERS_JWKS_CIDR }: OwnSettings, system: Named): string[] => {
  const foreign = foreignIssuerOf(system)
  if (USERS_JWKS === 'stand-in' && (CLUSTER !== 'kind' || PLATFORM !== 'bundled'))
    return ['USERS_JWKS is stand-in, which is for kind alone: whoever has the key of this machine could be any user']
  if (!foreign || PLATFORM === 'bundled' || USERS_JWKS_CIDR.length > 0) return []
  return [
    `USERS_JWKS_CIDR is missing: it takes the addresses of ${new URL(foreign.jwksUri).host}, where users' keys are, as CIDRs such as 10.0.0.0/8 separated by commas`,
  ]
}

/** @throws ConfigError naming every missing or wrong variable, and else all that do not go together */
export function loadSettings(env: Env, system: Named): Settings {
  const own = serviceFields(system)
  const config: OwnSettings = loadConfig({ ...own, ...settingFields }, withDefaults(env, system))
  const settings = { ...config, SERVICES: serviceSettingsIn(env, system) }
  const twice = Object.keys(own).filter(name => name in settingFields)
  const problems = [
    ...twice.map(name => `${name} is a setting of a service and of the kit: give the service's another name`),
    ...usersKeysProblems(config, system),
    ...misspeltSettings(env, system, Object.keys(settingFields)),
    ...settingsProblems(settings, system),
  ]
  if (problems.length > 0) throw new ConfigError(problems)
  return settings
}

/** The settings that the chart's values default to. Required settings of services are asked for when the chart is installed. */
export const chartSettings = (system: Named): Settings =>
  loadSettings({}, { ...system, services: system.services.map(service => ({ ...service, settings: {} })) })

/** The settings for the cluster of a context, whose name tells whether kind made it. */
export function settingsFor(context: string, env: Env, system: Named): Settings {
  const CLUSTER = env.CLUSTER || (context.startsWith('kind-') ? 'kind' : 'other')
  try {
    return loadSettings({ ...env, CLUSTER }, system)
  } catch (error) {
    const isGuessed = CLUSTER === 'other' && !env.PLATFORM
    if (!(error instanceof ConfigError && isGuessed && error.missing.length > 0)) throw error
    const why = `PLATFORM is existing, because ${context} is no cluster of kind, so that these have no default; PLATFORM=bundled brings them`
    throw new ConfigError([...error.problems, why], error.missing)
  }
}

/** Some settings alone, for a command that needs no other to be right. */
export function someSettings<const K extends keyof OwnSettings>(env: Env, system: Pick<Named, 'name'>, ...names: K[]): Pick<OwnSettings, K> {
  const fields = Object.fromEntries(names.map(name => [name, settingFields[name]]))
  return loadConfig(fields, withDefaults(env, system)) as unknown as Pick<OwnSettings, K>
}
