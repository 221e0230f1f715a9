import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { DEFAULT_RESOURCES, type Edge, type MetricPanel, type ServiceDefinition } from '../../services/chassis/graph.ts'
import { parseQuantity } from '../checks/quantity.ts'
import { hasOutbox, OUTBOX_AGE_SECONDS } from '../constructs/health-alerts.ts'
import { grafanaDashboard, type Panel, type Row } from './grafana.ts'

const OF = 'namespace="$namespace",job="$service"'
const requests = 'http_server_request_duration_seconds'

const rate = (metric: string, labels = '') => `rate(${metric}{${OF}${labels && `,${labels}`}}[$__rate_interval])`

/** A share by labels, which is 0 and not absent while there is nothing to count. */
function share(part: string, whole: string, by = ''): string {
  const sum = (of: string) => `sum ${by && `by (${by}) `}(${of})`
  return `(${sum(part)} or 0 * ${sum(whole)}) / ${sum(whole)}`
}

const quantile = (q: number, buckets: string, by = '') => `histogram_quantile(${q}, sum by (${['le', by].filter(Boolean).join(', ')}) (${buckets}))`

const FAILED = 'http_response_status_code=~"5.."'

/** Requests, failures and durations of one service, by what its clients see. */
function requestPanels({ name, slo }: ServiceDefinition): Panel[] {
  const left = (title: string, metric: string, runbook: string, description: string): Panel => ({
    title,
    description,
    unit: 'percentunit',
    as: 'number',
    good: 'above',
    limit: 0,
    queries: [{ expr: `service:http_server_${metric}:budget_left{namespace="$namespace",service="$service"}`, legend: 'left' }],
    runbook,
  })
  return [
    left(
      'Budget left: failures',
      'errors',
      'slo-error-burn',
      `What is left of the 30 days' budget for 5xx answers; the objective is ${slo.availability}.`,
    ),
    left(
      'Budget left: slowness',
      'slow',
      'slo-latency-burn',
      `What is left of the 30 days' budget for answers over ${slo.latency.thresholdMs} ms; the objective is ${slo.latency.objective}.`,
    ),
    {
      title: 'Pods',
      description: 'Pods that are ready.',
      unit: 'short',
      as: 'number',
      queries: [{ expr: `sum(service_ready{${OF}})`, legend: 'ready' }],
      runbook: 'too-few-pods',
    },
    {
      title: 'Requests',
      description: 'Requests a second, by status.',
      unit: 'reqps',
      queries: [{ expr: `sum by (http_response_status_code) (${rate(`${requests}_count`)})`, legend: '{{http_response_status_code}}' }],
      traces: name,
    },
    {
      title: 'Failures',
      description: 'Share of requests that are answered 5xx; the line is what the objective allows.',
      unit: 'percentunit',
      limit: 1 - slo.availability,
      queries: [{ expr: share(rate(`${requests}_count`, FAILED), rate(`${requests}_count`)), legend: '5xx' }],
      runbook: 'slo-error-burn',
      traces: name,
    },
    {
      title: 'Duration',
      description:
        'From the head of the request to the answer; the line is the threshold of the objective. Points are exemplars: each leads to its trace.',
      unit: 's',
      limit: slo.latency.thresholdMs / 1_000,
      queries: [0.5, 0.95, 0.99].map(q => ({ expr: quantile(q, rate(`${requests}_bucket`)), legend: `p${q * 100}`, exemplars: q === 0.99 })),
      runbook: 'slo-latency-burn',
      traces: name,
    },
  ]
}

function routePanels({ name }: ServiceDefinition): Panel[] {
  const by = 'http_request_method, http_route'
  const legend = '{{http_request_method}} {{http_route}}'
  return [
    {
      title: 'Requests by route',
      description: 'Requests a second to each operation; without a route: paths that the contract does not have.',
      unit: 'reqps',
      queries: [{ expr: `sum by (${by}) (${rate(`${requests}_count`)})`, legend }],
      traces: name,
    },
    {
      title: 'Failures by route',
      description: 'Share of the requests to each operation that are answered 5xx.',
      unit: 'percentunit',
      queries: [{ expr: share(rate(`${requests}_count`, FAILED), rate(`${requests}_count`), by), legend }],
      runbook: 'slo-error-burn',
    },
    {
      title: 'Duration by route, p95',
      description: 'The time that 95 % of the requests to an operation stay below.',
      unit: 's',
      queries: [{ expr: quantile(0.95, rate(`${requests}_bucket`), by), legend }],
      runbook: 'slo-latency-burn',
    },
  ]
}

/** One row a dependency: what is asked of it, how it answers, and whether it is still asked. */
function edgePanels({ to, attemptTimeoutMs, maxAttempts = 2 }: Edge): Panel[] {
  const edge = `peer_service="${to.name}"`
  const attempts = 'http_client_request_duration_seconds'
  return [
    {
      title: `Attempts to call ${to.name}`,
      description: 'Attempts a second by status, or by what came instead of one: timeout, refused connection, open circuit.',
      unit: 'reqps',
      queries: [
        {
          expr: `sum by (http_response_status_code, error_type) (${rate(`${attempts}_count`, edge)})`,
          legend: '{{http_response_status_code}} {{error_type}}',
        },
      ],
      traces: to.name,
    },
    {
      title: `Duration of attempts to call ${to.name}, p95`,
      description: `By operation; the line is the attempt's timeout of ${attemptTimeoutMs} ms.`,
      unit: 's',
      limit: attemptTimeoutMs / 1_000,
      queries: [
        {
          expr: quantile(0.95, rate(`${attempts}_bucket`, edge), 'http_request_method, http_route'),
          legend: '{{http_request_method}} {{http_route}}',
          exemplars: true,
        },
      ],
      traces: to.name,
    },
    {
      title: `Circuit to ${to.name}`,
      description: 'The worst state over the pods. Open: it is not called for a second at a time, since its answers failed.',
      unit: 'short',
      names: { 0: 'closed', 1: 'half open', 2: 'open' },
      queries: [{ expr: `max by (pod) (http_client_circuit_state{${OF},${edge}})`, legend: '{{pod}}' }],
      limit: 2,
      runbook: 'circuit-open',
    },
    {
      title: `Retries to ${to.name}`,
      description: `Share of the attempts that repeat one; ${maxAttempts} attempts at most, and the retry budget allows 20 %.`,
      unit: 'percentunit',
      limit: 0.2,
      queries: [{ expr: share(rate('http_client_retries_total', edge), rate(`${attempts}_count`, edge)), legend: 'retries' }],
      runbook: 'circuit-open',
    },
  ]
}

function saturationPanels({ maxConcurrency, database, resources = DEFAULT_RESOURCES }: ServiceDefinition): Panel[] {
  return [
    {
      title: 'In flight',
      description: 'Requests that a pod works on; at the line it answers 503 overloaded.',
      unit: 'short',
      limit: maxConcurrency,
      queries: [{ expr: `sum by (pod) (http_server_active_requests{${OF}})`, legend: '{{pod}}' }],
    },
    {
      title: 'Shed',
      description: 'Requests a second that are answered 503 overloaded at once, by reason.',
      unit: 'reqps',
      queries: [{ expr: `sum by (reason) (${rate('http_server_shed_requests_total')})`, legend: '{{reason}}' }],
      runbook: 'slo-error-burn',
    },
    {
      title: 'Event loop delay, p99',
      description: 'How late timers fire: the one thread has more to do than it can. Above the line requests are shed.',
      unit: 's',
      limit: 0.5,
      queries: [{ expr: `max by (pod) (nodejs_eventloop_lag_p99_seconds{${OF}})`, legend: '{{pod}}' }],
      runbook: 'slo-latency-burn',
    },
    {
      title: 'Processor',
      description: 'Processors in use by a pod; the line is its limit.',
      unit: 'short',
      limit: parseQuantity(resources.limits.cpu),
      queries: [{ expr: `sum by (pod) (${rate('process_cpu_seconds_total', 'endpoint="admin"')})`, legend: '{{pod}}' }],
    },
    {
      title: 'Memory',
      description: 'Resident memory of a pod; at the line the kernel ends it.',
      unit: 'bytes',
      limit: parseQuantity(resources.limits.memory),
      queries: [{ expr: `max by (pod) (process_resident_memory_bytes{${OF},endpoint="admin"})`, legend: '{{pod}}' }],
      runbook: 'restarting',
    },
    ...(database
      ? [
          {
            title: 'Database connections',
            description: 'Of all pods, by state; pending are requests that wait for one.',
            unit: 'short',
            queries: [{ expr: `sum by (state) (db_client_connection_count{${OF}})`, legend: '{{state}}' }],
          },
        ]
      : []),
  ]
}

const outboxPanels = (): Panel[] => [
  {
    title: 'Outbox',
    description: 'Messages that are not delivered yet, and those that wait for a person. Every pod sees the same rows, hence the largest.',
    unit: 'short',
    queries: [
      { expr: `max(outbox_pending{${OF}})`, legend: 'pending' },
      { expr: `max(outbox_parked{${OF}})`, legend: 'parked' },
    ],
    runbook: 'outbox-parked',
  },
  {
    title: 'Oldest message',
    description: 'Age of the oldest message in the outbox; above the line an alert follows.',
    unit: 's',
    limit: OUTBOX_AGE_SECONDS,
    queries: [{ expr: `max(outbox_oldest_age_seconds{${OF}})`, legend: 'oldest' }],
    runbook: 'outbox-stuck',
  },
  {
    title: 'Deliveries by the relay',
    description: 'Attempts a second of what no request could deliver at once, by outcome.',
    unit: 'reqps',
    queries: [{ expr: `sum by (outcome) (${rate('outbox_attempts_total')}) or on () vector(0)`, legend: '{{outcome}}' }],
    runbook: 'outbox-stuck',
  },
]

const ownPanel = ({ metric, kind, by, title, description, unit }: MetricPanel): Panel => {
  const legend = by ? `{{${by}}}` : title
  const grouped = by ? ` by (${by})` : ''
  return {
    title,
    description,
    unit,
    queries: [{ expr: kind === 'counter' ? `sum${grouped} (${rate(metric)})` : `max${grouped} (${metric}{${OF}})`, legend }],
  }
}

const telemetryPanels = (): Panel[] => [
  {
    title: 'Spans through the collector',
    description: 'Spans a second that the pods hand to their collectors, that these send on, and that are lost.',
    unit: 'cps',
    queries: [
      { expr: `sum(${rate('otelcol_receiver_accepted_spans_total')})`, legend: 'taken' },
      { expr: `sum(${rate('otelcol_exporter_sent_spans_total')})`, legend: 'sent' },
      {
        expr: `sum(${rate('otelcol_receiver_refused_spans_total')}) + (sum(${rate('otelcol_exporter_send_failed_spans_total')}) or vector(0)) + (sum(${rate('otelcol_exporter_enqueue_failed_spans_total')}) or vector(0))`,
        legend: 'lost',
      },
    ],
    runbook: 'target-down',
  },
  {
    title: 'Queue of the collector',
    description: 'Batches that wait for the tracing backend; it grows while that is away, up to a bound.',
    unit: 'short',
    queries: [{ expr: `max by (pod) (otelcol_exporter_queue_size{${OF}})`, legend: '{{pod}}' }],
    runbook: 'target-down',
  },
  {
    title: 'Memory of the collector',
    description: 'Resident memory of the collector beside each pod; its limiter refuses spans before the kernel ends it.',
    unit: 'bytes',
    queries: [{ expr: `max by (pod) (otelcol_process_memory_rss_bytes{${OF}})`, legend: '{{pod}}' }],
    runbook: 'restarting',
  },
]

/** Everything that one service tells, from its definition: requests, routes, one row a dependency, what runs out, its own metrics. */
export function serviceDashboard(system: string, service: ServiceDefinition, namespace: string): Dashboard {
  const rows: Row[] = [
    { title: 'Requests', panels: requestPanels(service) },
    { title: 'Routes', panels: routePanels(service) },
    ...service.calls.map(edge => ({ title: `Calls to ${edge.to.name}`, panels: edgePanels(edge) })),
    ...(service.panels ? [{ title: `Of ${service.name} alone`, panels: service.panels.map(ownPanel) }] : []),
    ...(hasOutbox(service) ? [{ title: 'Outbox', panels: outboxPanels() }] : []),
    { title: 'Saturation', panels: saturationPanels(service) },
    { title: 'Telemetry', panels: telemetryPanels() },
  ]
  return grafanaDashboard({
    system,
    name: service.name,
    title: `${system}: ${service.name}`,
    description: `What ${service.name} tells, made from its definition (services/${service.name}/service.ts).`,
    namespace,
    services: { among: [service.name], many: false },
    rows,
  })
}
