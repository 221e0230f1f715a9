/** Every image that is not ours, pinned once. */
export const images = {
  node: 'gcr.io/distroless/nodejs24-debian13:nonroot',
  collector: 'otel/opentelemetry-collector-k8s:0.155.0',
  traefik: 'traefik:v3.6.12',
  prometheusOperator: 'quay.io/prometheus-operator/prometheus-operator:v0.85.0',
  prometheusConfigReloader: 'quay.io/prometheus-operator/prometheus-config-reloader:v0.85.0',
  prometheus: 'quay.io/prometheus/prometheus:v3.16.0',
  alertmanager: 'quay.io/prometheus/alertmanager:v0.28.1',
  jaeger: 'jaegertracing/jaeger:2.13.0',
  metricsServer: 'registry.k8s.io/metrics-server/metrics-server:v0.9.0',
  postgres: 'postgres:17',
  grafana: 'grafana/grafana:12.3.0',
  /** What the end-to-end tests look from. */
  probe: 'busybox:1.37',
} as const

/** Where prometheus-operator publishes its custom resource definitions, of the operator's own version. */
export const PROMETHEUS_OPERATOR_CRDS = 'https://github.com/prometheus-operator/prometheus-operator/releases/download/v0.85.0/stripped-down-crds.yaml'

/** SHA-256 of that file, as hex digits: what is downloaded is applied to the cluster. Not known for this release; --crds-sha256 says it. */
export const PROMETHEUS_OPERATOR_CRDS_SHA256: string | undefined = undefined

/** The same for Gateway API's, of its standard channel. */
export const GATEWAY_API_CRDS = 'https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.0/standard-install.yaml'
