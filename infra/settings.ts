import { isIP } from 'node:net'
import { z } from 'zod'
import { loadConfig } from '../services/chassis/config.ts'

const text = (fallback: string, what: string) => z.string().min(1).default(fallback).describe(what)

const labels = (fallback: string, what: string) =>
  z
    .string()
    .default(fallback)
    .transform((value, context) => {
      const pairs = value.split(',').filter(Boolean)
      if (!pairs.every(pair => /^[^=]+=[^=]*$/.test(pair))) context.addIssue({ code: 'custom', message: 'is not key=value,key=value' })
      return Object.fromEntries(pairs.map(pair => pair.split('='))) as Record<string, string>
    })
    .describe(`${what}, as key=value,key=value`)

const cidrs = (what: string) =>
  z
    .string()
    .default('')
    .transform((value, context) => {
      const found = value.split(',').filter(Boolean)
      const wrong = found.find(cidr => !isCidr(cidr))
      if (wrong !== undefined) context.addIssue({ code: 'custom', message: `${wrong} is no address range` })
      return found
    })
    .describe(`${what}, as CIDRs separated by commas, e.g. 10.0.0.0/8`)

function isCidr(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/')
  const version = isIP(address)
  return version > 0 && rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)
}

const endpoints = (what: string) =>
  z
    .string()
    .default('')
    .transform((value, context) =>
      value
        .split(',')
        .filter(Boolean)
        .flatMap(text => {
          const [, six = '', four = '', port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
          if (isIP(six || four) > 0 && Number(port) < 65_536) return [{ address: six || four, port: Number(port) }]
          context.addIssue({ code: 'custom', message: `${text} is no address with a port` })
          return []
        }),
    )
    .describe(`${what}, separated by commas, e.g. 10.96.0.1:443,172.18.0.2:6443`)

const flag = (fallback: boolean, what: string) =>
  z
    .enum(['true', 'false'])
    .default(fallback ? 'true' : 'false')
    .transform(value => value === 'true')
    .describe(`true or false: ${what}`)

/** All that differs between environments, as variables of the synth; the defaults are those of a kind cluster. */
const settingFields = {
  PLATFORM: z.enum(['bundled', 'existing']).default('bundled').describe('bundled (brings all a bare cluster lacks) or existing (attaches)'),
  HOST: text('shop.localhost', 'the host name of the ingress'),
  NAMESPACE: text('shop', 'the namespace of the services'),
  IMAGE_REGISTRY: text('fairlead', 'the registry and path before /<service>:<tag>'),
  IMAGE_TAG: z.string().min(1).optional().describe('the tag of every service image; by default the digest of its content'),
  IMAGE_PULL_POLICY: z.enum(['IfNotPresent', 'Always', 'Never']).default('IfNotPresent').describe('IfNotPresent, Always or Never'),
  ROUTE: z.enum(['ingress', 'gateway']).default('ingress').describe('ingress or gateway (HTTPRoute)'),
  INGRESS_CLASS: text('traefik', 'the IngressClass'),
  INGRESS_NAMESPACE: text('ingress', 'the namespace of the ingress controller or gateway'),
  GATEWAY: text('shop', 'the name of the Gateway in INGRESS_NAMESPACE, for ROUTE=gateway'),
  DATABASE: z
    .enum(['bundled', 'external'])
    .default('bundled')
    .describe('bundled (a Postgres beside the services) or external (Secrets <service>-database)'),
  DATABASE_CIDR: text('0.0.0.0/0', 'where an external database is, as the CIDR that services may reach on port 5432'),
  /** The services keep idle connections for longer than this. */
  INGRESS_IDLE_MS: z.coerce.number().int().positive().default(90_000).describe('how long the ingress keeps an idle connection, in milliseconds'),
  TRUSTED_HOPS: z.coerce.number().int().min(0).default(1).describe('how many proxies in front append to X-Forwarded-For'),
  TRUSTED_PROXIES: cidrs('where the proxies in front of the bundled ingress are; needed for TRUSTED_HOPS above 1'),
  INGRESS_SOURCE_REQUESTS: z.coerce
    .number()
    .int()
    .positive()
    .default(100)
    .describe('how many requests of one source the bundled ingress has in flight at once; beyond that it answers 429'),
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
  HTTPS_PORT: z.coerce.number().int().min(1).max(65_535).default(443).describe('the port at which clients reach https, which redirects name'),
  INGRESS_TRACES: z
    .enum(['continue', 'link'])
    .default('continue')
    .describe('continue (the ingress begins traces, as the bundled one does) or link (each request begins one of its own)'),
  TLS: z
    .enum(['local', 'external'])
    .default('local')
    .describe("local (a certificate of this machine's own authority) or external (cert-manager's or yours, which nothing here touches)"),
  TLS_SECRET: text('shop-tls', 'the Secret with the certificate of HOST, beside the bundled ingress or else beside the services'),
  API_SERVER: endpoints(
    'addresses and ports of the API server, in front of it and behind, that the bundled programs may reach; up and deploy find them',
  ),
  MONITORING_NAMESPACE: text('observability', 'the namespace of Prometheus'),
  MONITORING_LABELS: labels('', 'labels by which Prometheus selects ServiceMonitors and PrometheusRules'),
  DASHBOARD_LABELS: labels('grafana_dashboard=1', "labels by which Grafana's sidecar selects ConfigMaps"),
  RUNBOOKS: text('docs/runbooks', 'where alerts send people: the URL that docs/runbooks is published at, or the folder'),
  GRAFANA: flag(true, 'whether the bundled platform has Grafana'),
  TRACING_NAMESPACE: text('observability', 'the namespace that receives traces'),
  OTLP_ENDPOINT: text('http://jaeger.observability:4317', 'the OTLP/gRPC endpoint of the tracing backend'),
  WORKLOAD_ISSUER: text('https://kubernetes.default.svc.cluster.local', "the cluster's ServiceAccount token issuer"),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('debug, info, warn or error'),
} as const

export type Settings = { [K in keyof typeof settingFields]: z.output<(typeof settingFields)[K]> }

/** Names under localhost never leave the machine (RFC 6761 section 6.3), so a password may go to them without TLS. */
export const redirectsHttp = ({ HTTP, HOST }: Pick<Settings, 'HTTP' | 'HOST'>): boolean =>
  (HTTP ?? (/(^|\.)localhost$/.test(HOST) ? 'plain' : 'redirect')) === 'redirect'

/** @throws ConfigError naming every wrong variable */
export const loadSettings = (env: Record<string, string | undefined>): Settings => loadConfig(settingFields, env)
