import type { ServiceDefinition } from '@fairlead/chassis'
import { failuresOf, protocolsOf, requestsTo } from '../alerts/requests.ts'
import type { Panel, Query } from './grafana.ts'
import { OF, ofInterval, quantile, rate, share } from './queries.ts'

/** Requests, failures and durations of one service, by what its clients see. */
export function requestPanels(service: ServiceDefinition): Panel[] {
  const { name, slo } = service
  const { requests, failed, durations } = requestsTo([service], OF, ofInterval)
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
      `What is left of the 30 days' budget for requests that are answered ${failuresOf(service)}; the objective is ${slo.availability}.`,
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
      queries: protocolsOf([service]).map(({ server, status }) => ({
        expr: `sum by (${status}) (${rate(`${server}_count`)})`,
        legend: `{{${status}}}`,
      })),
      traces: name,
    },
    {
      title: 'Failures',
      description: `Share of requests that are answered ${failuresOf(service)}; the line is what the objective allows.`,
      unit: 'percentunit',
      limit: 1 - slo.availability,
      queries: [{ expr: share(failed, requests), legend: service.grpc ? 'failed' : '5xx' }],
      runbook: 'slo-error-burn',
      traces: name,
    },
    {
      title: 'Duration',
      description:
        'From the head of the request to the answer; the line is the threshold of the objective. Points are exemplars: each leads to its trace.',
      unit: 's',
      limit: slo.latency.thresholdMs / 1_000,
      queries: [0.5, 0.95, 0.99].map(q => ({ expr: quantile(q, durations), legend: `p${q * 100}`, exemplars: q === 0.99 })),
      runbook: 'slo-latency-burn',
      traces: name,
    },
  ]
}

/** The same for each operation of its contract, by each protocol. */
export function routePanels(service: ServiceDefinition): Panel[] {
  const perOperation = (exprOf: (server: string, failed: string, by: string) => string): Query[] =>
    protocolsOf([service]).map(({ server, failed, operation }) => ({
      expr: exprOf(server, failed, operation.join(', ')),
      legend: operation.map(label => `{{${label}}}`).join(' '),
    }))
  return [
    {
      title: 'Requests by route',
      description: 'Requests a second to each operation; without a route: paths that the contract does not have.',
      unit: 'reqps',
      queries: perOperation((server, _, by) => `sum by (${by}) (${rate(`${server}_count`)})`),
      traces: service.name,
    },
    {
      title: 'Failures by route',
      description: `Share of the requests to each operation that are answered ${failuresOf(service)}.`,
      unit: 'percentunit',
      queries: perOperation((server, failed, by) => share(rate(`${server}_count`, failed), rate(`${server}_count`), by)),
      runbook: 'slo-error-burn',
    },
    {
      title: 'Duration by route, p95',
      description: 'The time that 95 % of the requests to an operation stay below.',
      unit: 's',
      queries: perOperation((server, _, by) => quantile(0.95, rate(`${server}_bucket`), by)),
      runbook: 'slo-latency-burn',
    },
  ]
}
