import { foreignIssuerOf, type SystemDefinition } from '@fairlead/chassis'
import { POSTGRES } from '../constructs/postgres.ts'
import type { Manifest } from '../objects/manifest.ts'
import { podsOf } from '../objects/network-policies.ts'
import { selectorOf } from '../objects/object.ts'
import { formats } from '../settings/formats.ts'
import type { Settings } from '../settings/settings.ts'
import { serviceValues } from './service-values.ts'
import { NAME, schemaFor, type Values, value } from './value.ts'

const NAMESPACE = schemaFor(formats.namespace)
const LABELS = { type: 'object', propertyNames: schemaFor(formats.labelKey), additionalProperties: schemaFor(formats.labelValue) }

/** Never empty: a rule without peers is for everybody. */
const PEERS = { type: 'array', minItems: 1, items: { type: 'object', minProperties: 1 } }
const BOOLEAN = { type: 'boolean' }

/**
 * What the chart lets people set, with what it is by default.
 * @param objects those of the chart
 */
export const valuesOf = (system: SystemDefinition, settings: Settings, tags: Record<string, string>, objects: readonly Manifest[]): Values => ({
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
  discovery: {
    by: value(settings.DISCOVERY, { enum: ['dns', 'srv'] }, 'How callers find pods: dns (addresses) or srv (SRV records)'),
    domain: value(settings.DISCOVERY_DOMAIN, schemaFor(formats.hostName), "The cluster's domain, in which SRV records are"),
  },
  dns: {
    peers: value(
      settings.DNS,
      PEERS,
      'Who answers DNS, as peers of a NetworkPolicy; for NodeLocal DNSCache e.g. also - ipBlock: { cidr: 169.254.20.10/32 }',
    ),
  },
  ...(system.services.some(({ database }) => database !== undefined) && {
    database: {
      bundled: value(true, BOOLEAN, 'Whether the chart brings a Postgres; otherwise each <service>-database Secret has the URL of another'),
      peers: value(
        [{ podSelector: { matchLabels: selectorOf({ name: POSTGRES }) } }],
        PEERS,
        'Where the database is, as peers of a NetworkPolicy; for one outside the cluster e.g. [{ ipBlock: { cidr: 10.0.0.0/8 } }]',
      ),
    },
  }),
  ...(foreignIssuerOf(system) && {
    users: {
      peers: value(
        [{ ipBlock: { cidr: '0.0.0.0/0' } }, { ipBlock: { cidr: '::/0' } }],
        PEERS,
        "Where the keys of users' tokens are, as peers of a NetworkPolicy: the addresses of their issuer, e.g. [{ ipBlock: { cidr: 192.0.2.0/24 } }]",
      ),
    },
  }),
  services: Object.fromEntries(system.services.map(service => [service.name, serviceValues(service, tags[service.name], objects)])),
})
