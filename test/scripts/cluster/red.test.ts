import { describe, expect, test } from 'vitest'
import type { Prometheus, Sample } from '../../../scripts/cluster/prometheus.ts'
import { readOtherAlerts, readRed } from '../../../scripts/cluster/red.ts'
import { system } from '../../support/graph.ts'

/** Answers each expression by the first of these words that it contains. */
const prometheus = (answers: [words: string, samples: Sample[]][]): Prometheus => ({
  query: async expression => answers.find(([words]) => expression.includes(words))?.[1] ?? [],
  close: async () => {},
})

const of = (label: string, service: string, value: number): Sample => ({ labels: { [label]: service }, value })

describe('readRed()', () => {
  test('gives each service its figures, in the order of the system', async () => {
    const answers: [string, Sample[]][] = [
      ['histogram_quantile(0.5', [of('job', 'user', 0.004), of('job', 'order', 0.01)]],
      ['histogram_quantile(0.99', [of('job', 'user', 0.2), of('job', 'order', 0.5)]],
      ['5..', [of('job', 'order', 0.25), of('job', 'user', 0)]],
      ['errors:budget_left', [of('service', 'user', 1), of('service', 'order', -0.5)]],
      ['slow:budget_left', [of('service', 'user', 0.75), of('service', 'order', 0.5)]],
      [
        'ALERTS',
        [
          { labels: { service: 'order', alertname: 'SloErrorBurn', window: '1h' }, value: 1 },
          { labels: { service: 'order', alertname: 'SloErrorBurn', window: '6h' }, value: 1 },
          { labels: { service: 'order', alertname: 'CircuitOpen' }, value: 1 },
        ],
      ],
      ['sum by (job)', [of('job', 'user', 12), of('job', 'order', 3)]],
    ]
    expect(await readRed(prometheus(answers), system, 'shop')).toEqual([
      { service: 'user', requestsPerSecond: 12, failed: 0, p50: 0.004, p99: 0.2, budgetLeft: { failures: 1, slowness: 0.75 }, alerts: [] },
      {
        service: 'order',
        requestsPerSecond: 3,
        failed: 0.25,
        p50: 0.01,
        p99: 0.5,
        budgetLeft: { failures: -0.5, slowness: 0.5 },
        alerts: ['CircuitOpen', 'SloErrorBurn'],
      },
    ])
  })

  test('has no figure where Prometheus has none, and none where nothing was asked', async () => {
    const found = await readRed(prometheus([['sum by (job)', [of('job', 'user', Number.NaN)]]]), system, 'shop')
    expect(found.map(({ requestsPerSecond, p99, alerts }) => [requestsPerSecond, p99, alerts])).toEqual([
      [undefined, undefined, []],
      [undefined, undefined, []],
    ])
  })

  test('asks exactly this, of its own namespace alone', async () => {
    const asked: string[] = []
    const query: Prometheus['query'] = async expression => {
      asked.push(expression)
      return []
    }
    await readRed({ query, close: async () => {} }, system, 'my-shop')
    const all = 'sum by (job) (rate(http_server_request_duration_seconds_count{namespace="my-shop"}[5m]))'
    const failed = 'sum by (job) (rate(http_server_request_duration_seconds_count{namespace="my-shop",http_response_status_code=~"5.."}[5m]))'
    const buckets = 'sum by (le, job) (rate(http_server_request_duration_seconds_bucket{namespace="my-shop"}[5m]))'
    expect(asked).toEqual([
      all,
      `(${failed} or 0 * ${all}) / ${all}`,
      `histogram_quantile(0.5, ${buckets})`,
      `histogram_quantile(0.99, ${buckets})`,
      'service:http_server_errors:budget_left{namespace="my-shop"}',
      'service:http_server_slow:budget_left{namespace="my-shop"}',
      'ALERTS{namespace="my-shop",alertstate="firing",severity!="none"}',
    ])
  })
})

describe('readOtherAlerts()', () => {
  test("names what fires and is no service's own, once", async () => {
    const fires = (labels: Record<string, string>) => ({ labels, value: 1 })
    const answers = [
      fires({ alertname: 'CircuitOpen', service: 'order' }),
      fires({ alertname: 'CertificateExpires', service: 'traefik', days: '21' }),
      fires({ alertname: 'CertificateExpires', service: 'traefik', days: '3' }),
      fires({ alertname: 'IngressErrors', service: 'traefik', exported_service: 'shop-user-http@kubernetes' }),
    ]
    expect(await readOtherAlerts(prometheus([['ALERTS', answers]]), system, 'shop')).toEqual([
      'CertificateExpires (traefik)',
      'IngressErrors (shop-user-http@kubernetes)',
    ])
  })
})
