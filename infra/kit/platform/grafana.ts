import { createHash } from 'node:crypto'
import { ConfigMap } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { stringify } from 'yaml'
import { bundledDashboards, toJson } from '../dashboards/dashboards.ts'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { make } from '../objects/object.ts'
import { type PlatformContext, platformOwner } from '../objects/platform-owner.ts'
import { resources } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor } from '../settings/images.ts'
import { JAEGER, PROMETHEUS_PORT } from '../settings/ports.ts'
import { addProgram } from './pod.ts'
import { addService } from './service.ts'

const PORT = 3_000
const DASHBOARDS = '/etc/grafana/dashboards'

/** Shows dashboards to whoever reaches it (kubectl port-forward), without accounts and without a password to keep. */
export function addGrafana(scope: Construct, context: PlatformContext): void {
  const { settings } = context
  const namespace = settings.MONITORING_NAMESPACE
  const owner = platformOwner('grafana', 'dashboards', 'grafana', settings)
  const datasources = stringify({
    apiVersion: 1,
    datasources: [
      {
        name: 'Prometheus',
        uid: 'prometheus',
        type: 'prometheus',
        url: `http://prometheus.${namespace}:${PROMETHEUS_PORT}`,
        isDefault: true,
        jsonData: { exemplarTraceIdDestinations: [{ name: 'trace_id', datasourceUid: 'jaeger' }] },
      },
      { name: 'Jaeger', uid: 'jaeger', type: 'jaeger', url: `http://jaeger.${settings.TRACING_NAMESPACE}:${JAEGER.query}` },
    ],
  })
  const providers = stringify({ apiVersion: 1, providers: [{ name: 'system', type: 'file', options: { path: DASHBOARDS } }] })
  const dashboards = Object.fromEntries([...bundledDashboards(context)].map(([name, dashboard]) => [`${name}.json`, toJson(dashboard)]))
  const files = {
    'grafana-datasources': { 'datasources.yaml': datasources },
    'grafana-providers': { 'dashboards.yaml': providers },
    // A copy of the system's own: a pod mounts ConfigMaps of its own namespace alone.
    'grafana-dashboards': dashboards,
  }
  addServiceAccount(scope, owner, namespace)
  for (const [name, data] of Object.entries(files)) make(ConfigMap, scope, owner, { metadata: { name, namespace }, data })
  addProgram(scope, owner, {
    namespace,
    image: imagesFor(settings).grafana,
    args: [],
    env: Object.entries({
      GF_AUTH_ANONYMOUS_ENABLED: 'true',
      GF_AUTH_ANONYMOUS_ORG_ROLE: 'Viewer',
      GF_AUTH_BASIC_ENABLED: 'false',
      GF_AUTH_DISABLE_LOGIN_FORM: 'true',
      GF_ANALYTICS_CHECK_FOR_UPDATES: 'false',
      GF_ANALYTICS_REPORTING_ENABLED: 'false',
    }).map(([name, value]) => ({ name, value })),
    ports: { web: PORT },
    live: { path: '/api/health', port: 'web' },
    ready: { path: '/healthz', port: 'web' },
    resources: resources({ cpu: '50m', memory: '128Mi' }, { cpu: '1', memory: '512Mi' }),
    config: {
      '/etc/grafana/provisioning/datasources': 'grafana-datasources',
      '/etc/grafana/provisioning/dashboards': 'grafana-providers',
      [DASHBOARDS]: 'grafana-dashboards',
    },
    checksum: createHash('sha256').update(JSON.stringify(files)).digest('hex').slice(0, 16),
    scratch: { '/var/lib/grafana': '64Mi' },
  })
  addService(scope, owner, namespace, { web: PORT })
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: [],
    egress: [
      { peer: podsOf('prometheus'), ports: [PROMETHEUS_PORT] },
      { peer: podsOf('jaeger', settings.TRACING_NAMESPACE), ports: [JAEGER.query] },
    ],
  })
}
