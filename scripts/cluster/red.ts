import type { SystemDefinition } from '@fairlead/chassis'
import { requestsTo } from '@fairlead/infra/tools'
import type { Prometheus, Sample } from './prometheus.ts'

/** What a service's clients see of it, over the last five minutes (RED), and what is left of its objectives. */
export interface Red {
  service: string
  requestsPerSecond: number | undefined
  /** Share of requests that were answered with a server's error. */
  failed: number | undefined
  /** Seconds. */
  p50: number | undefined
  p99: number | undefined
  /** What is left of the error budget: 1 is untouched, 0 spent, below 0 overdrawn. */
  budgetLeft: { failures: number | undefined; slowness: number | undefined }
  /** Names of its alerts that fire. */
  alerts: string[]
}

const WINDOW = '5m'

/** Alerts of the system that fire and are no service's own, e.g. of the ingress: by their name and what they are about. */
export async function readOtherAlerts(prometheus: Prometheus, { services }: SystemDefinition, namespace: string): Promise<string[]> {
  const firing = await prometheus.query(`ALERTS{namespace="${namespace}",alertstate="firing",severity!="none"}`)
  const others = firing.filter(({ labels }) => !services.some(({ name }) => name === labels.service))
  return [...new Set(others.map(({ labels }) => `${labels.alertname} (${labels.exported_service ?? labels.service})`))].sort()
}

/** @returns one entry a service, in the order of the system; what Prometheus has no figure for is undefined */
export async function readRed(prometheus: Prometheus, { services }: SystemDefinition, namespace: string): Promise<Red[]> {
  const of = `namespace="${namespace}"`
  const asked = requestsTo(services, of, selector => `rate(${selector}[${WINDOW}])`)
  const requests = `sum by (job) (${asked.requests})`
  const quantile = (q: number) => `histogram_quantile(${q}, sum by (le, job) (${asked.durations}))`
  const budget = (what: string) => `service:http_server_${what}:budget_left{${of}}`
  const [count = [], failures = [], p50 = [], p99 = [], budgetFailures = [], budgetSlowness = [], firing = []] = await Promise.all(
    [
      requests,
      `(sum by (job) (${asked.failed}) or 0 * ${requests}) / ${requests}`,
      quantile(0.5),
      quantile(0.99),
      budget('errors'),
      budget('slow'),
      `ALERTS{${of},alertstate="firing",severity!="none"}`,
    ].map(prometheus.query),
  )
  return services.map(({ name }) => {
    const figure = (samples: readonly Sample[], label: string) => {
      const value = samples.find(({ labels }) => labels[label] === name)?.value
      return value === undefined || Number.isNaN(value) ? undefined : value
    }
    return {
      service: name,
      requestsPerSecond: figure(count, 'job'),
      failed: figure(failures, 'job'),
      p50: figure(p50, 'job'),
      p99: figure(p99, 'job'),
      budgetLeft: { failures: figure(budgetFailures, 'service'), slowness: figure(budgetSlowness, 'service') },
      alerts: [...new Set(firing.filter(({ labels }) => labels.service === name).map(({ labels }) => labels.alertname ?? ''))].sort(),
    }
  })
}
