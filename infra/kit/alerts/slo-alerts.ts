import type { ServiceDefinition } from '@fairlead/chassis'
import type { Settings } from '../settings/settings.ts'
import { alertRule, type Rule } from './alert.ts'
import { failuresOf, requestsTo } from './requests.ts'

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

/** That error budgets are for. Prometheus answers from as much of it as it keeps. */
export const PERIOD = '30d'

export const percent = (share: number): string => `${Number((share * 100).toFixed(4))} %`

/** A bucket's label as Prometheus 3 writes it: whole numbers have a fraction, too. */
export const bucketLabel = (thresholdMs: number): string => {
  const seconds = thresholdMs / 1_000
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds)
}

/** Bad requests below which a share of them says nothing, over the long window: two failures at night wake nobody. */
const FEWEST_BAD = 10

/** PromQL of what is counted, over a window: all requests, those answered with a server's error, those answered within the threshold. */
function counts(service: ServiceDefinition, { NAMESPACE }: Settings) {
  const { name, slo } = service
  type Requests = ReturnType<typeof requestsTo>
  const of = (pick: (requests: Requests) => string) => (what: 'rate' | 'increase', window: string) =>
    `sum(${pick(requestsTo([service], `job="${name}",namespace="${NAMESPACE}"`, selector => `${what}(${selector}[${window}])`))})`
  return {
    requests: of(({ requests }) => requests),
    failed: of(({ failed }) => failed),
    fast: of(({ within }) => within(bucketLabel(slo.latency.thresholdMs))),
  }
}

/** Shares of bad requests over windows, which the alerts read. */
export function indicators(service: ServiceDefinition, settings: Settings): Rule[] {
  const { requests, failed, fast } = counts(service, settings)
  const labels = { service: service.name, namespace: settings.NAMESPACE }
  return WINDOWS.flatMap(window => {
    const all = requests('rate', window)
    return [
      // Nothing has failed yet is no absence of an answer.
      { record: `service:http_server_errors:ratio_rate${window}`, expr: `(${failed('rate', window)} or 0 * ${all}) / ${all}`, labels },
      { record: `service:http_server_slow:ratio_rate${window}`, expr: `1 - ${fast('rate', window)} / ${all}`, labels },
    ]
  })
}

const BUDGET_INTERVAL = '30s'
/** Of records in a period of 30 days, one every 30 s. */
const SAMPLES = (30 * 86_400) / 30

/**
 * What is left of each error budget: 1 is untouched, 0 spent, below 0 overdrawn. Of a service that is younger than the period only
 * that part of the budget can be spent: one bad minute of its first ten is not a tenth of the month. Read from records, for the counters
 * themselves over 30 days are many.
 */
export function errorBudgets(service: ServiceDefinition, settings: Settings): { interval: string; rules: Rule[] } {
  const { requests, failed, fast } = counts(service, settings)
  const labels = { service: service.name, namespace: settings.NAMESPACE }
  const all = requests('rate', '5m')
  const over = (metric: string, what: string) =>
    `${what}(service:http_server_${metric}:rate5m{service="${service.name}",namespace="${settings.NAMESPACE}"}[${PERIOD}])`
  const left = (metric: string, objective: number): Rule => ({
    record: `service:http_server_${metric}:budget_left`,
    expr: `1 - ${over(metric, 'sum_over_time')} / ${over('requests', 'sum_over_time')} / ${Number((1 - objective).toPrecision(6))} * clamp_max(${over('requests', 'count_over_time')} / ${SAMPLES}, 1)`,
    labels,
  })
  return {
    interval: BUDGET_INTERVAL,
    rules: [
      { record: 'service:http_server_requests:rate5m', expr: all, labels },
      { record: 'service:http_server_errors:rate5m', expr: `${failed('rate', '5m')} or 0 * ${all}`, labels },
      { record: 'service:http_server_slow:rate5m', expr: `${all} - ${fast('rate', '5m')}`, labels },
      left('errors', service.slo.availability),
      left('slow', service.slo.latency.objective),
    ],
  }
}

export function burnAlerts(service: ServiceDefinition, settings: Settings): Rule[] {
  const { name, slo } = service
  const { thresholdMs, objective } = slo.latency
  const { requests, failed, fast } = counts(service, settings)
  const kinds = [
    {
      alert: 'SloErrorBurn',
      metric: 'errors',
      objective: slo.availability,
      what: `are answered ${failuresOf(service)}`,
      runbook: 'slo-error-burn',
      bad: (window: string) => failed('increase', window),
    },
    {
      alert: 'SloLatencyBurn',
      metric: 'slow',
      objective,
      what: `take longer than ${thresholdMs} ms`,
      runbook: 'slo-latency-burn',
      bad: (window: string) => `${requests('increase', window)} - ${fast('increase', window)}`,
    },
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
          expr: `${over(long)} and ${over(short)} and on () ${kind.bad(long)} > ${FEWEST_BAD}`,
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
