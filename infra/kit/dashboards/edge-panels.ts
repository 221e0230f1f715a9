import { DEFAULT_MAX_ATTEMPTS, type Edge, RETRY_RATIO } from '@fairlead/chassis'
import { protocolOf } from '../alerts/requests.ts'
import type { Panel } from './grafana.ts'
import { OF, quantile, rate, share } from './queries.ts'

/** One row a dependency: what is asked of it, how it answers, and whether it is still asked. */
export function edgePanels({ to, attemptTimeoutMs, maxAttempts = DEFAULT_MAX_ATTEMPTS, protocol }: Edge): Panel[] {
  const edge = `peer_service="${to.name}"`
  const { client: attempts, status, operation } = protocolOf({ protocol })
  return [
    {
      title: `Attempts to call ${to.name}`,
      description: 'Attempts a second by status, or by what came instead of one: timeout, refused connection, open circuit.',
      unit: 'reqps',
      queries: [
        {
          expr: `sum by (${status}, error_type) (${rate(`${attempts}_count`, edge)})`,
          legend: `{{${status}}} {{error_type}}`,
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
          expr: quantile(0.95, rate(`${attempts}_bucket`, edge), operation.join(', ')),
          legend: operation.map(label => `{{${label}}}`).join(' '),
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
      title: `Held back from ${to.name}`,
      description: 'Calls a second that are not made, since it refuses more than half of them as too much.',
      unit: 'reqps',
      queries: [{ expr: `sum(${rate('http_client_throttled_total', edge)})`, legend: 'held back' }],
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
    {
      title: `Addresses of ${to.name}`,
      description: 'The fewest that a pod knows, and the most that one leaves out because they took no connection.',
      unit: 'short',
      queries: [
        { expr: `min(discovery_addresses{${OF},${edge}})`, legend: 'known' },
        { expr: `max(discovery_ejected_addresses{${OF},${edge}})`, legend: 'left out' },
      ],
      runbook: 'circuit-open',
    },
    {
      title: `Lookups of ${to.name}`,
      description: 'Lookups of its addresses a second by outcome. While they fail the last addresses stay in use.',
      unit: 'reqps',
      queries: [{ expr: `sum by (outcome) (${rate('discovery_lookups_total', edge)})`, legend: '{{outcome}}' }],
      runbook: 'circuit-open',
    },
  ]
}
