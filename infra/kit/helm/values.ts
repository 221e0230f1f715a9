import { DEFAULT_RESOURCES, type SystemDefinition, secretsOf, takesOf } from '@fairlead/chassis'
import { databaseSecret, ownerSecret } from '../constructs/deployment.ts'
import { POSTGRES } from '../constructs/postgres.ts'
import { podsOf } from '../objects/network-policies.ts'
import { selectorOf } from '../objects/object.ts'
import { type Format, formats } from '../settings/formats.ts'
import { defaultOf, isRequired, settingSchema } from '../settings/service-settings.ts'
import type { Settings } from '../settings/settings.ts'

type Schema = Record<string, unknown>

/** One value of the chart, or a group of them. */
export interface Value {
  description: string
  schema: Schema
  /** undefined: whoever installs the chart has to say it. */
  default: unknown
}
export type Values = { [name: string]: Value | Values }

const value = (fallback: unknown, schema: Schema, description: string): Value => ({ default: fallback, schema, description })

const schemaFor = ({ pattern, maxLength }: Format) => ({ type: 'string', pattern, maxLength })
const NAME = schemaFor(formats.objectName)
const NAMESPACE = schemaFor(formats.namespace)
const LABELS = { type: 'object', propertyNames: schemaFor(formats.labelKey), additionalProperties: schemaFor(formats.labelValue) }
/** Never empty: a rule without peers is for everybody. */
const PEERS = { type: 'array', minItems: 1, items: { type: 'object', minProperties: 1 } }
const BOOLEAN = { type: 'boolean' }
const QUANTITY = { type: ['string', 'integer'], pattern: '^[0-9]+(\\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$' }
const RESOURCES = {
  type: 'object',
  required: ['requests', 'limits'],
  additionalProperties: false,
  properties: Object.fromEntries(
    ['requests', 'limits'].map(kind => [kind, { type: 'object', required: ['cpu', 'memory'], additionalProperties: QUANTITY }]),
  ),
}

/** Where a value is found in a template. */
export const at = (...path: string[]): string =>
  path.every(name => /^\w+$/.test(name)) ? `.Values.${path.join('.')}` : `(index .Values ${path.map(name => `"${name}"`).join(' ')})`

/** What the chart lets people set, with what it is by default. */
export const valuesOf = (system: SystemDefinition, settings: Settings, tags: Record<string, string>): Values => ({
  image: {
    registry: value(settings.IMAGE_REGISTRY, schemaFor(formats.registry), 'Registry and path before /<service>:<tag>'),
    pullPolicy: value(settings.IMAGE_PULL_POLICY, { enum: ['IfNotPresent', 'Always', 'Never'] }, 'When the images of the services are pulled'),
  },
  host: value(settings.HOST, schemaFor(formats.hostName), 'Host name of the ingress'),
  trustedHops: value(settings.TRUSTED_HOPS, { type: 'integer', minimum: 0 }, 'Proxies in front that append to X-Forwarded-For'),
  logLevel: value(settings.LOG_LEVEL, { enum: ['debug', 'info', 'warn', 'error'] }, 'What the services log'),
  workloadIssuer: value(settings.WORKLOAD_ISSUER, schemaFor(formats.issuer), "The cluster's ServiceAccount token issuer"),
  ingress: {
    enabled: value(true, BOOLEAN, 'Whether there are Ingress objects'),
    className: value(settings.INGRESS_CLASS, NAME, 'The IngressClass'),
    namespace: value(settings.INGRESS_NAMESPACE, NAMESPACE, 'The namespace of the ingress controller'),
    podLabels: value(selectorOf({ name: 'traefik' }), LABELS, 'Labels of its pods; {} for every pod of that namespace'),
    tlsSecret: value(
      '',
      { ...NAME, pattern: `^$|${NAME.pattern}` },
      'The Secret with the certificate of the host, in the same namespace; none for an ingress that has one by itself, as the bundled one does',
    ),
  },
  monitoring: {
    enabled: value(true, BOOLEAN, 'Whether there are ServiceMonitor and PrometheusRule objects'),
    namespace: value(settings.MONITORING_NAMESPACE, NAMESPACE, 'The namespace of Prometheus'),
    podLabels: value(selectorOf({ name: 'prometheus' }), LABELS, 'Labels of its pods; {} for every pod of that namespace'),
    labels: value(settings.MONITORING_LABELS, LABELS, 'Labels by which Prometheus selects ServiceMonitors and PrometheusRules'),
    runbooks: value(settings.RUNBOOKS, { type: 'string', minLength: 1 }, 'Where alerts send people: the URL that docs/runbooks is published at'),
    dashboards: value(true, BOOLEAN, 'Whether there are ConfigMaps with Grafana dashboards'),
    dashboardLabels: value(settings.DASHBOARD_LABELS, LABELS, "Labels by which Grafana's sidecar selects them"),
  },
  tracing: {
    host: value(settings.OTLP_ENDPOINT.host, NAME, 'Who receives OTLP over gRPC'),
    port: value(settings.OTLP_ENDPOINT.port, { type: 'integer', minimum: 1, maximum: 65_535 }, 'Its port'),
    tls: value(!settings.OTLP_ENDPOINT.insecure, BOOLEAN, 'Whether it has a certificate, of a public authority'),
    peers: value(
      [podsOf('jaeger', settings.TRACING_NAMESPACE)],
      PEERS,
      'Where it is, as peers of a NetworkPolicy; for one outside the cluster e.g. [{ ipBlock: { cidr: 192.0.2.0/24 } }]',
    ),
  },
  dns: {
    peers: value(
      settings.DNS,
      PEERS,
      'Who answers DNS, as peers of a NetworkPolicy; for NodeLocal DNSCache e.g. also - ipBlock: { cidr: 169.254.20.10/32 }',
    ),
  },
  database: {
    bundled: value(true, BOOLEAN, 'Whether the chart brings a Postgres; otherwise each <service>-database Secret has the URL of another'),
    peers: value(
      [{ podSelector: { matchLabels: selectorOf({ name: POSTGRES }) } }],
      PEERS,
      'Where the database is, as peers of a NetworkPolicy; for one outside the cluster e.g. [{ ipBlock: { cidr: 10.0.0.0/8 } }]',
    ),
  },
  services: Object.fromEntries(
    system.services.map(service => {
      const { requests, limits } = service.resources ?? DEFAULT_RESOURCES
      const secrets = Object.fromEntries(
        secretsOf(service).map(({ name }) => [name, value(name, NAME, `The Secret with the ${name} of ${service.name}`)]),
      )
      const own = Object.entries(service.settings ?? {}).map(([name, schema]): [string, Value] => [
        name,
        value(defaultOf(schema) ?? (isRequired(schema) ? undefined : ''), settingSchema(schema), takesOf(schema)),
      ])
      return [
        service.name,
        {
          tag: value(tags[service.name], { ...schemaFor(formats.imageTag), not: { const: 'latest' } }, 'Tag of its image'),
          minReplicas: value(service.scale.min, { type: 'integer', minimum: 1 }, 'Fewest pods'),
          maxReplicas: value(service.scale.max, { type: 'integer', minimum: 1 }, 'Most pods'),
          resources: value({ requests, limits }, RESOURCES, 'Of its container'),
          ...(own.length > 0 && { settings: Object.fromEntries(own) }),
          secrets: {
            ...(service.database && {
              database: value(databaseSecret(service), NAME, "The Secret with its database's url"),
              'database-owner': value(ownerSecret(service), NAME, "The Secret with its database's url for migrations, as the owner of the tables"),
            }),
            ...secrets,
          },
        },
      ]
    }),
  ),
})

const isValue = (node: Value | Values): node is Value => 'schema' in node && 'default' in node

/** The defaults alone, as values.yaml has them. */
export const defaultsOf = (values: Values): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).map(([name, node]) => [name, isValue(node) ? node.default : defaultsOf(node)]))

/** JSON Schema draft 7, which Helm checks every install, upgrade, lint and template against. */
export const schemaOf = (values: Values): Schema => ({
  type: 'object',
  additionalProperties: false,
  required: Object.keys(values),
  properties: Object.fromEntries(
    Object.entries(values).map(([name, node]) => [name, isValue(node) ? { description: node.description, ...node.schema } : schemaOf(node)]),
  ),
})

/** Comments of values.yaml by path. */
export const descriptionsOf = (values: Values, path: string[] = []): [path: string[], description: string][] =>
  Object.entries(values).flatMap(([name, node]): [string[], string][] =>
    isValue(node) ? [[[...path, name], node.description]] : descriptionsOf(node, [...path, name]),
  )
