import { k8s } from 'cdk8s-plus-27'
import { stringify } from 'yaml'
import { nativeSidecar } from '../objects/newer-fields.ts'
import { containerSecurity, resources } from '../objects/restricted.ts'
import { type ImageSettings, imagesFor } from '../settings/images.ts'
import type { Settings } from '../settings/settings.ts'

/**
 * The variable with the collector's configuration. It is part of the pod template, so a change rolls the pods out, and an undone
 * rollout brings back the configuration that its pods had.
 */
export const COLLECTOR_CONFIG = 'OTELCOL_CONFIG'
/** Where the collector serves its own metrics. */
export const COLLECTOR_METRICS_PORT = 8_888
const HEALTH_PORT = 13_133
/** What a service is told to send its traces to. */
export const OTLP_URL = 'http://127.0.0.1:4318'

/**
 * How a collector serves its own metrics: names end in their unit and `_total`, as Prometheus writes them. It is all said, because
 * what these are by default has changed between versions.
 */
export const ownMetrics = (port: number) => ({
  readers: [
    { pull: { exporter: { prometheus: { host: '0.0.0.0', port, without_type_suffix: false, without_units: false, without_scope_info: true } } } },
  ],
})

type Tracing = Pick<Settings, 'OTLP_ENDPOINT' | 'OTLP_HEADERS' | 'OTLP_CA'>

const fromEnv = (variable: string) => `\${env:${variable}}`
const headerVariable = (name: string) => `OTLP_HEADER_${name.toUpperCase().replaceAll('-', '_')}`

/** The Secret with the value of each header that a tracing backend asks for: no manifest has one. */
export const OTLP_HEADERS_SECRET = 'otlp-headers'
const CA_DIR = '/etc/otelcol/ca'

/** OTLP in over localhost, out to the tracing backend; bounded in memory, and what cannot be delivered is dropped, never waited for. */
const collectorConfig = ({ OTLP_ENDPOINT: { host, port, insecure }, OTLP_HEADERS, OTLP_CA }: Tracing): string =>
  stringify({
    extensions: { health_check: { endpoint: `0.0.0.0:${HEALTH_PORT}` } },
    receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:4318' } } } },
    processors: {
      memory_limiter: { check_interval: '1s', limit_mib: 60, spike_limit_mib: 15 },
      resource: {
        attributes: [
          { key: 'k8s.namespace.name', value: fromEnv('POD_NAMESPACE'), action: 'insert' },
          { key: 'k8s.pod.name', value: fromEnv('POD_NAME'), action: 'insert' },
          { key: 'k8s.node.name', value: fromEnv('NODE_NAME'), action: 'insert' },
        ],
      },
      batch: { send_batch_size: 512, send_batch_max_size: 1_024, timeout: '1s' },
    },
    exporters: {
      otlp_grpc: {
        endpoint: `${host}:${port}`,
        tls: { insecure, ...(OTLP_CA && { ca_file: `${CA_DIR}/ca.crt` }) },
        ...(OTLP_HEADERS.length > 0 && { headers: Object.fromEntries(OTLP_HEADERS.map(name => [name, fromEnv(headerVariable(name))])) }),
        timeout: '5s',
        sending_queue: { queue_size: 64 },
        retry_on_failure: { initial_interval: '1s', max_interval: '15s', max_elapsed_time: '60s' },
      },
    },
    service: {
      extensions: ['health_check'],
      telemetry: {
        logs: { level: 'warn' },
        metrics: ownMetrics(COLLECTOR_METRICS_PORT),
      },
      pipelines: { traces: { receivers: ['otlp'], processors: ['memory_limiter', 'resource', 'batch'], exporters: ['otlp_grpc'] } },
    },
  })

const fieldEnv = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } })

/** Starts before, and stops after, everything that sends to it. */
export const collectorSidecar = (settings: Tracing & ImageSettings): k8s.Container =>
  nativeSidecar({
    name: 'collector',
    image: imagesFor(settings).collector,
    imagePullPolicy: 'IfNotPresent',
    args: [`--config=env:${COLLECTOR_CONFIG}`],
    env: [
      fieldEnv('POD_NAME', 'metadata.name'),
      fieldEnv('POD_NAMESPACE', 'metadata.namespace'),
      fieldEnv('NODE_NAME', 'spec.nodeName'),
      { name: 'GOMEMLIMIT', value: '50MiB' },
      ...settings.OTLP_HEADERS.map(name => ({ name: headerVariable(name), valueFrom: { secretKeyRef: { name: OTLP_HEADERS_SECRET, key: name } } })),
      { name: COLLECTOR_CONFIG, value: collectorConfig(settings) },
    ],
    ports: [{ name: 'otel-metrics', containerPort: COLLECTOR_METRICS_PORT }],
    startupProbe: { httpGet: { path: '/', port: k8s.IntOrString.fromNumber(HEALTH_PORT) }, periodSeconds: 1, failureThreshold: 60 },
    securityContext: containerSecurity(),
    resources: resources({ cpu: '10m', memory: '40Mi' }, { cpu: '200m', memory: '96Mi' }),
    ...(settings.OTLP_CA && { volumeMounts: [{ name: CA_VOLUME, mountPath: CA_DIR, readOnly: true }] }),
  })

const CA_VOLUME = 'otlp-ca'

/** What the collector mounts. */
export const collectorVolumes = ({ OTLP_CA }: Tracing): k8s.Volume[] => (OTLP_CA ? [{ name: CA_VOLUME, configMap: { name: OTLP_CA } }] : [])
