import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import type { SystemDefinition } from '../../services/chassis/graph.ts'
import { grafanaDashboard, type Panel } from './grafana.ts'

const OF = 'namespace="$namespace",job=~"$service"'
const requests = 'http_server_request_duration_seconds'
const rate = (metric: string, labels: string) => `rate(${metric}{${labels}}[$__rate_interval])`
const count = `sum by (job) (${rate(`${requests}_count`, OF)})`
const failed = `sum by (job) (${rate(`${requests}_count`, `${OF},http_response_status_code=~"5.."`)})`

const health: Panel[] = [
  {
    title: 'Alerts',
    description: 'Alerts of this system that fire now.',
    unit: 'short',
    as: 'number',
    limit: 1,
    queries: [{ expr: 'count(ALERTS{namespace="$namespace",alertstate="firing",severity!="none"}) or vector(0)', legend: 'firing' }],
  },
  {
    title: 'Targets down',
    description: 'What Prometheus should scrape of the services and cannot.',
    unit: 'short',
    as: 'number',
    limit: 1,
    queries: [{ expr: 'count(up{namespace="$namespace"} == 0) or vector(0)', legend: 'down' }],
    runbook: 'target-down',
  },
  {
    title: 'Pods',
    description: 'Pods of each service that answer Prometheus.',
    unit: 'short',
    as: 'number',
    queries: [{ expr: `sum by (job) (up{${OF},endpoint="admin"})`, legend: '{{job}}' }],
    runbook: 'too-few-pods',
  },
  {
    title: 'Budget left: failures',
    description: "What is left of the 30 days' budget for 5xx answers.",
    unit: 'percentunit',
    as: 'number',
    good: 'above',
    limit: 0,
    queries: [{ expr: 'service:http_server_errors:budget_left{namespace="$namespace",service=~"$service"}', legend: '{{service}}' }],
    runbook: 'slo-error-burn',
  },
  {
    title: 'Budget left: slowness',
    description: "What is left of the 30 days' budget for slow answers.",
    unit: 'percentunit',
    as: 'number',
    good: 'above',
    limit: 0,
    queries: [{ expr: 'service:http_server_slow:budget_left{namespace="$namespace",service=~"$service"}', legend: '{{service}}' }],
    runbook: 'slo-latency-burn',
  },
]

const services: Panel[] = [
  {
    title: 'Requests',
    description: 'Requests a second to each service.',
    unit: 'reqps',
    queries: [{ expr: count, legend: '{{job}}' }],
  },
  {
    title: 'Failures',
    description: 'Share of the requests to each service that are answered 5xx.',
    unit: 'percentunit',
    queries: [{ expr: `(${failed} or 0 * ${count}) / ${count}`, legend: '{{job}}' }],
    runbook: 'slo-error-burn',
  },
  {
    title: 'Duration, p99',
    description: 'The time that 99 % of the requests to a service stay below. Points are exemplars: each leads to its trace.',
    unit: 's',
    queries: [{ expr: `histogram_quantile(0.99, sum by (le, job) (${rate(`${requests}_bucket`, OF)}))`, legend: '{{job}}', exemplars: true }],
    runbook: 'slo-latency-burn',
  },
  {
    title: 'Calls between services',
    description: 'Attempts a second along each edge of the graph.',
    unit: 'reqps',
    queries: [
      { expr: `sum by (job, peer_service) (${rate('http_client_request_duration_seconds_count', OF)})`, legend: '{{job}} to {{peer_service}}' },
    ],
    runbook: 'circuit-open',
  },
  {
    title: 'Circuits',
    description: 'The worst state of each edge over the pods.',
    unit: 'short',
    limit: 2,
    names: { 0: 'closed', 1: 'half open', 2: 'open' },
    queries: [{ expr: `max by (job, peer_service) (http_client_circuit_state{${OF}})`, legend: '{{job}} to {{peer_service}}' }],
    runbook: 'circuit-open',
  },
  {
    title: 'Outboxes',
    description: 'Age of the oldest message that is not delivered.',
    unit: 's',
    limit: 300,
    queries: [{ expr: `max by (job) (outbox_oldest_age_seconds{${OF}})`, legend: '{{job}}' }],
    runbook: 'outbox-stuck',
  },
]

/** What only the bundled tracing backend tells. */
const traces: Panel[] = [
  {
    title: 'Traces',
    description: 'Traces a second that the tail sampler keeps, and that it drops: ordinary ones beyond the share that is kept.',
    unit: 'cps',
    queries: [
      {
        expr: `sum by (decision) (${rate('otelcol_processor_tail_sampling_global_count_traces_sampled_total', 'job="jaeger"')})`,
        legend: '{{decision}}',
      },
    ],
    runbook: 'target-down',
  },
  {
    title: 'Traces dropped too early',
    description:
      'Traces a second for which there was no room until their decision: more of them at once than num_traces of infra/platform/jaeger.ts.',
    unit: 'cps',
    queries: [{ expr: `sum(${rate('otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total', 'job="jaeger"')})`, legend: 'dropped' }],
    runbook: 'target-down',
  },
]

/** What only the bundled ingress tells. */
const ingress: Panel[] = [
  {
    title: 'Through the ingress',
    description: 'Requests a second that the ingress passes on, by service and status.',
    unit: 'reqps',
    queries: [
      {
        expr: `sum by (exported_service, code) (${rate('traefik_service_requests_total', 'exported_service=~"$namespace-.*"')})`,
        legend: '{{exported_service}} {{code}}',
      },
    ],
    runbook: 'ingress-errors',
  },
  {
    title: 'Certificate',
    description: 'Time until the certificate of the ingress expires.',
    unit: 's',
    good: 'above',
    limit: 21 * 86_400,
    queries: [{ expr: 'min by (cn) (traefik_tls_certs_not_after) - time()', legend: '{{cn}}' }],
    runbook: 'certificate-expires',
  },
]

/** The whole system on one screen. */
export function overviewDashboard(system: SystemDefinition, namespace: string, { withPlatform }: { withPlatform: boolean }): Dashboard {
  return grafanaDashboard({
    system: system.name,
    name: 'overview',
    title: `${system.name}: overview`,
    description: `All services of ${system.name}, made from its system graph (infra/system.ts).`,
    namespace,
    services: { among: system.services.map(({ name }) => name), many: true },
    rows: [
      { title: 'Health', panels: health },
      { title: 'Services', panels: services },
      ...(withPlatform
        ? [
            { title: 'Ingress', panels: ingress },
            { title: 'Traces', panels: traces },
          ]
        : []),
    ],
  })
}
