import { hasOutbox, type ServiceDefinition } from '@fairlead/chassis'
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { OUTBOX_AGE_SECONDS } from '../alerts/health-alerts.ts'
import { protocolsBetween, requestsTo } from '../alerts/requests.ts'
import { type DashboardContext, grafanaDashboard, type Panel } from './grafana.ts'
import { ofInterval } from './queries.ts'

const OF = 'namespace="$namespace",job=~"$service"'

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
    description: 'Pods of each service that are ready.',
    unit: 'short',
    as: 'number',
    queries: [{ expr: `sum by (job) (service_ready{${OF}})`, legend: '{{job}}' }],
    runbook: 'too-few-pods',
  },
  {
    title: 'Budget left: failures',
    description: "What is left of the 30 days' budget for answers with a server's error.",
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

function servicePanels(services: readonly ServiceDefinition[]): Panel[] {
  const { requests, failed, durations } = requestsTo(services, OF, ofInterval)
  const count = `sum by (job) (${requests})`
  const attempts = protocolsBetween(services).map(({ client }) => ofInterval(`${client}_count{${OF}}`))
  return [
    {
      title: 'Requests',
      description: 'Requests a second to each service.',
      unit: 'reqps',
      queries: [{ expr: count, legend: '{{job}}' }],
    },
    {
      title: 'Failures',
      description: "Share of the requests to each service that are answered with a server's error.",
      unit: 'percentunit',
      queries: [{ expr: `(sum by (job) (${failed}) or 0 * ${count}) / ${count}`, legend: '{{job}}' }],
      runbook: 'slo-error-burn',
    },
    {
      title: 'Duration, p99',
      description: 'The time that 99 % of the requests to a service stay below. Points are exemplars: each leads to its trace.',
      unit: 's',
      queries: [{ expr: `histogram_quantile(0.99, sum by (le, job) (${durations}))`, legend: '{{job}}', exemplars: true }],
      runbook: 'slo-latency-burn',
    },
    {
      title: 'Calls between services',
      description: 'Attempts a second along each edge of the graph.',
      unit: 'reqps',
      queries: [{ expr: `sum by (job, peer_service) (${attempts.join(' or ')})`, legend: '{{job}} to {{peer_service}}' }],
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
  ]
}

const outboxes: Panel = {
  title: 'Outboxes',
  description: 'Age of the oldest message that is not delivered.',
  unit: 's',
  limit: OUTBOX_AGE_SECONDS,
  queries: [{ expr: `max by (job) (outbox_oldest_age_seconds{${OF}})`, legend: '{{job}}' }],
  runbook: 'outbox-stuck',
}

/** The whole system on one screen. */
export function overviewDashboard(context: DashboardContext): Dashboard {
  const { system } = context
  const services = servicePanels(system.services)
  return grafanaDashboard(context, {
    name: 'overview',
    title: `${system.name}: overview`,
    description: `All services of ${system.name}, made from its system graph (infra/system.ts).`,
    services: { among: system.services.map(({ name }) => name), many: true },
    rows: [
      { title: 'Health', panels: health },
      { title: 'Services', panels: system.services.some(hasOutbox) ? [...services, outboxes] : services },
    ],
  })
}
