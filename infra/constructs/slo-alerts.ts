import type { ServiceDefinition } from '../../services/chassis/graph.ts'
import type { Settings } from '../settings.ts'
import { alertRule, type Rule } from './alert.ts'

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

export const WINDOWS = [...new Set(BURN_RATES.flatMap(({ long, short }) => [short, long]))]

/** That error budgets are for. Prometheus answers from as much of it as it keeps. */
export const PERIOD = '30d'

export const percent = (share: number): string => `${Number((share * 100).toFixed(4))} %`

/** A bucket's label as Prometheus 3 writes it: whole numbers have a fraction, too. */
export const bucketLabel = (thresholdMs: number): string => {
  const seconds = thresholdMs / 1_000
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds)
}

/** Shares of bad requests over windows, which the alerts, dashboards and `npm run status` read. */
export function indicators({ name, slo }: ServiceDefinition, { NAMESPACE }: Settings, windows: readonly string[]): Rule[] {
  const all = `job="${name}",namespace="${NAMESPACE}"`
  const requests = (window: string) => `sum(rate(http_server_request_duration_seconds_count{${all}}[${window}]))`
  const failed = (window: string) => `sum(rate(http_server_request_duration_seconds_count{${all},http_response_status_code=~"5.."}[${window}]))`
  const fast = (window: string) =>
    `sum(rate(http_server_request_duration_seconds_bucket{${all},le="${bucketLabel(slo.latency.thresholdMs)}"}[${window}]))`
  return windows.flatMap(window => [
    {
      record: `service:http_server_errors:ratio_rate${window}`,
      // Nothing has failed yet is no absence of an answer.
      expr: `(${failed(window)} or 0 * ${requests(window)}) / ${requests(window)}`,
      labels: { service: name, namespace: NAMESPACE },
    },
    {
      record: `service:http_server_slow:ratio_rate${window}`,
      expr: `1 - ${fast(window)} / ${requests(window)}`,
      labels: { service: name, namespace: NAMESPACE },
    },
  ])
}

/** What is left of each error budget: 1 is untouched, 0 spent, below 0 overdrawn. */
export const errorBudgets = ({ name, slo }: ServiceDefinition, { NAMESPACE }: Settings): Rule[] =>
  [
    { metric: 'errors', objective: slo.availability },
    { metric: 'slow', objective: slo.latency.objective },
  ].map(({ metric, objective }) => ({
    record: `service:http_server_${metric}:budget_left`,
    expr: `1 - service:http_server_${metric}:ratio_rate${PERIOD}{service="${name}",namespace="${NAMESPACE}"} / ${Number((1 - objective).toPrecision(6))}`,
    labels: { service: name, namespace: NAMESPACE },
  }))

export function burnAlerts({ name, slo }: ServiceDefinition, settings: Settings): Rule[] {
  const { thresholdMs, objective } = slo.latency
  const kinds = [
    { alert: 'SloErrorBurn', metric: 'errors', objective: slo.availability, what: 'are answered 5xx', runbook: 'slo-error-burn' },
    { alert: 'SloLatencyBurn', metric: 'slow', objective, what: `take longer than ${thresholdMs} ms`, runbook: 'slo-latency-burn' },
  ]
  return kinds.flatMap(kind =>
    BURN_RATES.map(({ burn, long, short, severity }) => {
      const limit = Number((burn * (1 - kind.objective)).toPrecision(6))
      const over = (window: string) =>
        `service:http_server_${kind.metric}:ratio_rate${window}{service="${name}",namespace="${settings.NAMESPACE}"} > ${limit}`
      return alertRule(
        {
          alert: kind.alert,
          severity,
          labels: { service: name, window: long },
          expr: `${over(long)} and ${over(short)}`,
          for: '1m',
          summary: `${name} burns its error budget ${burn} times too fast`,
          description: `{{ $value | humanizePercentage }} of the requests to ${name} ${kind.what} over ${long}, and still over ${short}; the objective is ${percent(kind.objective)}.`,
          runbook: kind.runbook,
        },
        settings,
      )
    }),
  )
}
