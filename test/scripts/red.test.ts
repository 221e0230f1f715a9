import { describe, expect, test } from 'vitest'
import { system } from '../../infra/system.ts'
import type { Prometheus, Sample } from '../../scripts/cluster/prometheus.ts'
import { readRed } from '../../scripts/red.ts'

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

  test('asks of its own namespace alone', async () => {
    const asked: string[] = []
    const query: Prometheus['query'] = async expression => {
      asked.push(expression)
      return []
    }
    await readRed({ query, close: async () => {} }, system, 'my-shop')
    expect(asked).toHaveLength(7)
    for (const expression of asked) for (const [selector] of expression.matchAll(/\{[^}]*\}/g)) expect(selector).toContain('namespace="my-shop"')
  })
})
