import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import type { Construct } from 'constructs'
import type { ServiceDefinition } from '../../services/chassis/graph.ts'
import { type Context, serviceOwner } from './context.ts'
import { kubeObject } from './object.ts'

interface Rule {
  record?: string
  alert?: string
  expr: string
  for?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

/**
 * Multi-window, multi-burn-rate alerts: an alert needs a budget that burns fast over a long window and still over a short one.
 * Source: Beyer et al., "The Site Reliability Workbook", chapter 5, table 5-8.
 */
export const BURN_RATES = [
  { burn: 14.4, long: '1h', short: '5m', severity: 'page' },
  { burn: 6, long: '6h', short: '30m', severity: 'page' },
  { burn: 3, long: '1d', short: '2h', severity: 'ticket' },
  { burn: 1, long: '3d', short: '6h', severity: 'ticket' },
] as const

const WINDOWS = [...new Set(BURN_RATES.flatMap(({ long, short }) => [short, long]))]

const RUNBOOKS = 'docs/runbooks'
const percent = (share: number): string => `${Number((share * 100).toFixed(4))} %`

/** A bucket's label as Prometheus 3 writes it: whole numbers have a fraction, too. */
export const bucketLabel = (thresholdMs: number): string => {
  const seconds = thresholdMs / 1_000
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds)
}

/** What can go wrong with a service, as far as its metrics tell. */
export function addSloAlerts(scope: Construct, context: Context, service: ServiceDefinition): void {
  const { NAMESPACE, MONITORING_LABELS } = context.settings
  kubeObject<IPrometheusRule>(scope, serviceOwner(context, service), {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: service.name, namespace: NAMESPACE, labels: MONITORING_LABELS },
    spec: {
      groups: [
        { name: `${service.name}-slo`, interval: '30s', rules: [...indicators(service, NAMESPACE), ...burnAlerts(service)] },
        { name: `${service.name}-health`, interval: '30s', rules: healthAlerts(service, NAMESPACE) },
      ],
    },
  })
}

/** Shares of bad requests by window, which the alerts and dashboards read. */
function indicators({ name, slo }: ServiceDefinition, namespace: string): Rule[] {
  const all = `job="${name}",namespace="${namespace}"`
  const requests = (window: string) => `sum(rate(http_server_request_duration_seconds_count{${all}}[${window}]))`
  const failed = (window: string) => `sum(rate(http_server_request_duration_seconds_count{${all},http_response_status_code=~"5.."}[${window}]))`
  const fast = (window: string) =>
    `sum(rate(http_server_request_duration_seconds_bucket{${all},le="${bucketLabel(slo.latency.thresholdMs)}"}[${window}]))`
  return WINDOWS.flatMap(window => [
    {
      record: `service:http_server_errors:ratio_rate${window}`,
      // Nothing has failed yet is no absence of an answer.
      expr: `(${failed(window)} or 0 * ${requests(window)}) / ${requests(window)}`,
      labels: { service: name },
    },
    { record: `service:http_server_slow:ratio_rate${window}`, expr: `1 - ${fast(window)} / ${requests(window)}`, labels: { service: name } },
  ])
}

function burnAlerts({ name, slo }: ServiceDefinition): Rule[] {
  const { thresholdMs, objective } = slo.latency
  const kinds = [
    { alert: 'SloErrorBurn', metric: 'errors', objective: slo.availability, what: 'are answered 5xx', runbook: 'slo-error-burn' },
    { alert: 'SloLatencyBurn', metric: 'slow', objective, what: `take longer than ${thresholdMs} ms`, runbook: 'slo-latency-burn' },
  ]
  return kinds.flatMap(kind =>
    BURN_RATES.map(({ burn, long, short, severity }) => {
      const limit = Number((burn * (1 - kind.objective)).toPrecision(6))
      const over = (window: string) => `service:http_server_${kind.metric}:ratio_rate${window}{service="${name}"} > ${limit}`
      return {
        alert: kind.alert,
        expr: `${over(long)} and ${over(short)}`,
        for: '1m',
        labels: { severity, service: name, window: long },
        annotations: {
          summary: `${name} burns its error budget ${burn} times too fast`,
          description: `{{ $value | humanizePercentage }} of the requests to ${name} ${kind.what} over ${long}, and still over ${short}; the objective is ${percent(kind.objective)}.`,
          runbook_url: `${RUNBOOKS}/${kind.runbook}.md`,
        },
      }
    }),
  )
}

function healthAlerts({ name, calls, database, scale }: ServiceDefinition, namespace: string): Rule[] {
  const of = `job="${name}",namespace="${namespace}"`
  const alert = (
    title: string,
    severity: 'page' | 'ticket',
    wait: string,
    expr: string,
    summary: string,
    description: string,
    runbook: string,
  ): Rule => ({
    alert: title,
    expr,
    for: wait,
    labels: { severity, service: name },
    annotations: { summary, description, runbook_url: `${RUNBOOKS}/${runbook}.md` },
  })
  return [
    alert(
      'TooFewPods',
      'page',
      '5m',
      `(count(up{${of},endpoint="admin"} == 1) or vector(0)) < ${scale.min}`,
      `${name} has fewer pods than it should`,
      `{{ $value }} pods of ${name} answer Prometheus; its scale.min is ${scale.min}. They do not start (an image, a Secret, a migration), or they are not scraped.`,
      'too-few-pods',
    ),
    alert(
      'TargetDown',
      'ticket',
      '5m',
      `up{${of}} == 0`,
      `Prometheus cannot scrape a pod of ${name}`,
      `{{ $labels.pod }} ({{ $labels.endpoint }}) does not answer Prometheus.`,
      'target-down',
    ),
    alert(
      'Restarting',
      'page',
      '1m',
      `changes(process_start_time_seconds{${of},endpoint="admin"}[15m]) > 2`,
      `A pod of ${name} restarts again and again`,
      `{{ $labels.pod }} has started {{ $value }} times in 15 minutes.`,
      'restarting',
    ),
    ...(calls.length > 0
      ? [
          alert(
            'CircuitOpen',
            'page',
            '5m',
            `max by (peer_service) (http_client_circuit_state{${of}}) == 2`,
            `${name} has given up calling {{ $labels.peer_service }}`,
            `A circuit from ${name} to {{ $labels.peer_service }} is open: its calls failed.`,
            'circuit-open',
          ),
        ]
      : []),
    // An outbox needs a table to be in and somebody to call.
    ...(database && calls.length > 0
      ? [
          alert(
            'OutboxStuck',
            'page',
            '5m',
            `max(outbox_oldest_age_seconds{${of}}) > 300`,
            `${name} cannot deliver a message`,
            `The oldest message in the outbox of ${name} has waited {{ $value | humanizeDuration }}.`,
            'outbox-stuck',
          ),
          alert(
            'OutboxParked',
            'ticket',
            '1m',
            `max(outbox_parked{${of}}) > 0`,
            `${name} has messages that wait for a person`,
            `{{ $value }} messages in the outbox of ${name} were refused for good.`,
            'outbox-parked',
          ),
        ]
      : []),
  ]
}
