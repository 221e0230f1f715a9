import { createHash } from 'node:crypto'
import { KEPT_ATTRIBUTE, type SystemDefinition } from '@fairlead/chassis'
import { ConfigMap } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { stringify } from 'yaml'
import { ownMetrics } from '../constructs/tracing-sidecar.ts'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { make } from '../objects/object.ts'
import { type PlatformContext, platformOwner } from '../objects/platform-owner.ts'
import { resources } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor } from '../settings/images.ts'
import { JAEGER } from '../settings/ports.ts'
import { addMonitor } from './monitor.ts'
import { addProgram } from './pod.ts'
import { addService } from './service.ts'

const HEALTH = 13_133
const FAILED =
  'status.code == STATUS_CODE_ERROR and (attributes["http.response.status_code"] == nil or attributes["http.response.status_code"] >= 500)'
/** Attributes of the ingress' spans that no trace keeps; what matched a route is said by the services. */
const STRANGERS_TEXT = ['client.address', 'client.port', 'network.peer.address', 'user_agent.original', 'url.path', 'url.query', 'url.full']
/** Kept in memory, the newest ones: at 20 spans of a kilobyte each, half of what the pod may have. */
const MAX_TRACES = 8_000

/**
 * A collector configuration, as Jaeger 2 is one (https://www.jaegertracing.io/docs/2.13/deployment/configuration). Here every span of a
 * trace comes together, so here it is decided which traces are kept: all that failed, all that were slower than some service's
 * objective, and the share of the rest that the services themselves named. Traces live in memory.
 */
const configFor = ({ services }: SystemDefinition): string =>
  stringify({
    extensions: {
      healthcheckv2: { use_v2: true, http: { endpoint: `0.0.0.0:${HEALTH}` } },
      jaeger_storage: { backends: { memory: { memory: { max_traces: MAX_TRACES } } } },
      jaeger_query: { storage: { traces: 'memory' }, http: { endpoint: `0.0.0.0:${JAEGER.query}` } },
    },
    receivers: { otlp: { protocols: { grpc: { endpoint: `0.0.0.0:${JAEGER.otlp}` } } } },
    processors: {
      // What the ingress says of its clients: who they are, and text of theirs.
      attributes: { include: { match_type: 'strict', services: ['traefik'] }, actions: STRANGERS_TEXT.map(key => ({ key, action: 'delete' })) },
      // Whoever sends one trace id again and again makes one trace that only grows.
      memory_limiter: { check_interval: '1s', limit_mib: 300, spike_limit_mib: 60 },
      tail_sampling: {
        // Longer than the longest request and what its spans wait in two batches.
        decision_wait: `${Math.max(...services.map(({ timeoutMs }) => timeoutMs)) + 4_000}ms`,
        num_traces: 10_000,
        expected_new_traces_per_sec: 100,
        policies: [
          // Not by the status of a span alone: the ingress marks every 4xx as an error, and anybody can ask for what is not there.
          { name: 'failed', type: 'ottl_condition', ottl_condition: { error_mode: 'ignore', span: [FAILED] } },
          { name: 'slow', type: 'latency', latency: { threshold_ms: Math.min(...services.map(({ slo }) => slo.latency.thresholdMs)) } },
          { name: 'share', type: 'boolean_attribute', boolean_attribute: { key: KEPT_ATTRIBUTE, value: true } },
        ],
      },
      batch: {},
    },
    exporters: { jaeger_storage_exporter: { trace_storage: 'memory' } },
    service: {
      extensions: ['healthcheckv2', 'jaeger_storage', 'jaeger_query'],
      telemetry: {
        logs: { level: 'warn' },
        metrics: ownMetrics(JAEGER.metrics),
      },
      pipelines: {
        traces: {
          receivers: ['otlp'],
          processors: ['memory_limiter', 'attributes', 'tail_sampling', 'batch'],
          exporters: ['jaeger_storage_exporter'],
        },
      },
    },
  })

/** Receives, keeps and shows traces. */
export function addJaeger(scope: Construct, { system, settings }: PlatformContext): void {
  const namespace = settings.TRACING_NAMESPACE
  const owner = platformOwner('jaeger', 'tracing', 'jaeger', settings)
  const config = configFor(system)
  addServiceAccount(scope, owner, namespace)
  make(ConfigMap, scope, owner, { metadata: { name: 'jaeger', namespace }, data: { 'config.yaml': config } })
  addProgram(scope, owner, {
    namespace,
    image: imagesFor(settings).jaeger,
    args: ['--config=/etc/jaeger/config.yaml'],
    // Below the limit, so that the collector of garbage works harder before the kernel ends it.
    env: [{ name: 'GOMEMLIMIT', value: '320MiB' }],
    ports: { ...JAEGER, health: HEALTH },
    live: { path: '/status', port: 'health' },
    ready: { path: '/', port: 'query' },
    resources: resources({ cpu: '20m', memory: '96Mi' }, { cpu: '1', memory: '384Mi' }),
    config: { '/etc/jaeger': 'jaeger' },
    checksum: createHash('sha256').update(config).digest('hex').slice(0, 16),
  })
  addService(scope, owner, namespace, JAEGER)
  addMonitor(scope, owner, namespace, 'metrics', settings)
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: [
      ...system.services.map(({ name }) => ({ peer: podsOf(name, settings.NAMESPACE), ports: [JAEGER.otlp] })),
      { peer: podsOf('traefik', settings.INGRESS_NAMESPACE), ports: [JAEGER.otlp] },
      { peer: podsOf('grafana'), ports: [JAEGER.query] },
      { peer: podsOf('prometheus', settings.MONITORING_NAMESPACE), ports: [JAEGER.metrics] },
    ],
    egress: [],
  })
}
