import { DEFAULT_MAX_ATTEMPTS, type Edge, RETRY_RATIO } from '@fairlead/chassis'
import type { Panel } from './grafana.ts'
import { OF, quantile, rate, share } from './queries.ts'

/** One row a dependency: what is asked of it, how it answers, and whether it is still asked. */
export function edgePanels({ to, attemptTimeoutMs, maxAttempts = DEFAULT_MAX_ATTEMPTS }: Edge): Panel[] {
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
      description: `Share of the attempts that repeat one; ${maxAttempts} attempts at most, and the retry budget allows ${RETRY_RATIO * 100} %.`,
      unit: 'percentunit',
      limit: RETRY_RATIO,
      queries: [{ expr: share(rate('http_client_retries_total', edge), rate(`${attempts}_count`, edge)), legend: 'retries' }],
      runbook: 'circuit-open',
    },
  ]
}
