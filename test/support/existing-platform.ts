/** What the settings need to know of a platform that is there already. */
export const EXISTING = {
  PLATFORM: 'existing',
  INGRESS_CLASS: 'nginx',
  INGRESS_NAMESPACE: 'nginx',
  MONITORING_NAMESPACE: 'monitoring',
  TRACING_NAMESPACE: 'tracing',
  OTLP_ENDPOINT: 'http://tempo.tracing:4317',
}
