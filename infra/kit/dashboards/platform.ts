import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { CERTIFICATE_DAYS, ROUTER_REQUESTS } from '../alerts/ingress-alerts.ts'
import { type DashboardContext, grafanaDashboard, type Panel } from './grafana.ts'

const rate = (metric: string, labels: string) => `rate(${metric}{${labels}}[$__rate_interval])`

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
    description: 'Traces a second for which there was no room until their decision: more of them at once than num_traces of the tail sampler.',
    unit: 'cps',
    queries: [{ expr: `sum(${rate('otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total', 'job="jaeger"')})`, legend: 'dropped' }],
    runbook: 'target-down',
  },
]

/** What only the bundled ingress tells. */
const ingress = (services: readonly string[]): Panel[] => [
  {
    title: 'Through the ingress',
    description: 'Requests a second at the ingress, by service and status, those that no pod took included.',
    unit: 'reqps',
    queries: [
      {
        expr: `sum by (exported_service, code) (${rate(ROUTER_REQUESTS, `exported_service=~"$namespace-(${services.join('|')})-.*"`)})`,
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
    limit: CERTIFICATE_DAYS.ticket * 86_400,
    // The newest of a name: Traefik goes on telling of those that it had before.
    queries: [{ expr: 'max by (cn) (traefik_tls_certs_not_after) - time()', legend: '{{cn}}' }],
    runbook: 'certificate-expires',
  },
]

/** Figures of the bundled ingress and tracing backend. A cluster with its own has its own dashboards. */
export function platformDashboard(context: DashboardContext): Dashboard {
  const { system } = context
  const names = system.services.map(({ name }) => name)
  return grafanaDashboard(context, {
    name: 'platform',
    title: `${system.name}: platform`,
    description: 'The ingress and the tail sampler of the bundled platform.',
    services: { among: names, many: true },
    rows: [
      { title: 'Ingress', panels: ingress(names) },
      { title: 'Traces', panels: traces },
    ],
  })
}
