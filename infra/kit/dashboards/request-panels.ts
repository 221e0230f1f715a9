import type { ServiceDefinition } from '@fairlead/chassis'
import type { Panel } from './grafana.ts'
import { FAILED, OF, quantile, rate, requests, share } from './queries.ts'

/** Requests, failures and durations of one service, by what its clients see. */
export function requestPanels({ name, slo }: ServiceDefinition): Panel[] {
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

/** The same for each operation of its contract. */
export function routePanels({ name }: ServiceDefinition): Panel[] {
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
