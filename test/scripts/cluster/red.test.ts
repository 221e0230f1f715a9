import { describe, expect, test } from 'vitest'
import type { Prometheus, Sample } from '../../../scripts/cluster/prometheus.ts'
import { readOtherAlerts, readRed } from '../../../scripts/cluster/red.ts'
import { system } from '../../support/acme.ts'
import { hasPromtool, promQl, type Series } from '../../support/promtool.ts'

/** Answers each expression by the first of these words that it contains. */
const prometheus = (answers: [words: string, samples: Sample[]][]): Prometheus => ({
  query: async expression => answers.find(([words]) => expression.includes(words))?.[1] ?? [],
  close: async () => {},
})

const NOTHING = {
  requestsPerSecond: undefined,
  failed: undefined,
  p50: undefined,
  p99: undefined,
  budgetLeft: { failures: undefined, slowness: undefined },
  alerts: [],
}
const of = (label: string, service: string, value: number): Sample => ({ labels: { [label]: service }, value })

describe('readRed()', () => {
  test('gives each service its figures, in the order of the system', async () => {
    const answers: [string, Sample[]][] = [
      ['histogram_quantile(0.5', [of('job', 'stock', 0.004), of('job', 'booking', 0.01)]],
      ['histogram_quantile(0.99', [of('job', 'stock', 0.2), of('job', 'booking', 0.5)]],
      ['5..', [of('job', 'booking', 0.25), of('job', 'stock', 0)]],
      ['errors:budget_left', [of('service', 'stock', 1), of('service', 'booking', -0.5)]],
      ['slow:budget_left', [of('service', 'stock', 0.75), of('service', 'booking', 0.5)]],
      [
        'ALERTS',
        [
          { labels: { service: 'booking', alertname: 'SloErrorBurn', window: '1h' }, value: 1 },
          { labels: { service: 'booking', alertname: 'SloErrorBurn', window: '6h' }, value: 1 },
          { labels: { service: 'booking', alertname: 'CircuitOpen' }, value: 1 },
        ],
      ],
      ['sum by (job)', [of('job', 'stock', 12), of('job', 'booking', 3)]],
    ]
    expect(await readRed(prometheus(answers), system, 'acme')).toEqual([
      { ...NOTHING, service: 'hello' },
      { service: 'stock', requestsPerSecond: 12, failed: 0, p50: 0.004, p99: 0.2, budgetLeft: { failures: 1, slowness: 0.75 }, alerts: [] },
      {
        service: 'booking',
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
    const found = await readRed(prometheus([['sum by (job)', [of('job', 'stock', Number.NaN)]]]), system, 'acme')
    expect(found).toEqual(system.services.map(({ name }) => ({ ...NOTHING, service: name })))
  })
})

describe.runIf(hasPromtool)('readRed() of what Prometheus has', () => {
  const request = (kind: string, job: string, labels: string, namespace = 'acme') =>
    `http_server_request_duration_seconds_${kind}{job="${job}",namespace="${namespace}",pod="${job}-a",${labels}}`
  const status = (code: number) => `http_response_status_code="${code}"`
  const answered = (job: string, code: number, perMinute: number, namespace?: string): Series => ({
    [request('count', job, status(code), namespace)]: `0+${perMinute}x10`,
  })
  /** Requests a minute of which all take from 100 to 200 ms but for some that take up to a second. */
  const taking = (job: string, perMinute: number, slow: number): Series =>
    Object.fromEntries(
      [
        ['0.1', 0],
        ['0.2', perMinute - slow],
        ['1.0', perMinute],
        ['+Inf', perMinute],
      ].map(([le, n]) => [request('bucket', job, `${status(200)},le="${le}"`), `0+${n}x10`]),
    )

  const read = async (series: Series, namespace = 'acme') => {
    const found = await readRed({ query: expr => promQl(expr, { series, minutes: 10 }), close: async () => {} }, system, namespace)
    return Object.fromEntries(found.map(({ service, ...figures }) => [service, figures]))
  }

  test('a service that is asked 120 times a minute, of which 30 fail, has 2 requests a second and fails a quarter of them', async () => {
    const { stock } = await read({ ...answered('stock', 200, 80), ...answered('stock', 404, 10), ...answered('stock', 503, 30) })
    expect(stock).toMatchObject({ requestsPerSecond: 2, failed: 0.25 })
  })

  /** Calls by gRPC a minute to stock, and those of them within 200 ms; all take less than a second. */
  const called = (code: string, perMinute: number, fast = perMinute): Series => {
    const series = (suffix: string, more = '') =>
      `rpc_server_call_duration_seconds_${suffix}{job="stock",namespace="acme",pod="stock-a",rpc_response_status_code="${code}"${more}}`
    return {
      [series('count')]: `0+${perMinute}x10`,
      [series('bucket', ',le="0.2"')]: `0+${fast}x10`,
      [series('bucket', ',le="1.0"')]: `0+${perMinute}x10`,
      [series('bucket', ',le="+Inf"')]: `0+${perMinute}x10`,
    }
  }

  test('calls by gRPC count as requests do, with those and alone', async () => {
    const byGrpc = { ...called('OK', 30), ...called('NOT_FOUND', 15), ...called('UNAVAILABLE', 15) }
    expect((await read(byGrpc)).stock).toMatchObject({ requestsPerSecond: 1, failed: 0.25 })
    const both = (await read({ ...byGrpc, ...answered('stock', 200, 60) })).stock
    expect(both).toMatchObject({ requestsPerSecond: 2, failed: 0.125 })
  })

  test('calls by gRPC are in the p50 and the p99', async () => {
    const { stock } = await read({ ...taking('stock', 100, 0), ...called('OK', 100, 0) })
    expect(stock?.p50).toBeLessThanOrEqual(0.2)
    expect(stock?.p99).toBeGreaterThan(0.2)
  })

  test('a service that has never failed fails no request', async () => {
    expect((await read(answered('stock', 200, 60))).stock).toMatchObject({ requestsPerSecond: 1, failed: 0 })
  })

  test('a service that was never asked has no figures, and one that is asked no more fails nothing', async () => {
    const { hello, stock } = await read({ [request('count', 'stock', status(200))]: '7x10' })
    expect(hello).toMatchObject({ requestsPerSecond: undefined, failed: undefined, p50: undefined, p99: undefined })
    expect(stock).toMatchObject({ requestsPerSecond: 0, failed: undefined })
  })

  test('pods of a service are added up, and requests of other namespaces are left out', async () => {
    const second = Object.fromEntries(
      Object.entries(answered('stock', 503, 60)).map(([name, values]) => [name.replace('stock-a', 'stock-b'), values]),
    )
    const { stock } = await read({ ...answered('stock', 200, 60), ...second, ...answered('stock', 503, 600, 'elsewhere') })
    expect(stock).toMatchObject({ requestsPerSecond: 2, failed: 0.5 })
    expect((await read(answered('stock', 200, 60), 'elsewhere')).stock?.requestsPerSecond).toBeUndefined()
  })

  test('half of the requests take less than the p50, and one in a hundred takes more than the p99', async () => {
    const { stock, booking } = await read({ ...taking('stock', 100, 10), ...taking('booking', 100, 0) })
    expect(stock?.p50).toBeGreaterThan(0.1)
    expect(stock?.p50).toBeLessThan(0.2)
    expect(stock?.p99).toBeGreaterThan(0.2)
    expect(stock?.p99).toBeLessThanOrEqual(1)
    expect(booking?.p99).toBeLessThanOrEqual(0.2)
  })

  test('what is left of the budgets and what fires is that of the namespace', async () => {
    const left = (what: string, namespace: string) => `service:http_server_${what}:budget_left{service="stock",namespace="${namespace}"}`
    const alert = (name: string, labels: string) => `ALERTS{alertname="${name}",service="stock",${labels}}`
    const { stock } = await read({
      [left('errors', 'acme')]: '0.25x10',
      [left('slow', 'acme')]: '-1x10',
      [left('slow', 'elsewhere')]: '1x10',
      [alert('Fires', 'namespace="acme",alertstate="firing",severity="page"')]: '1x10',
      [alert('Waits', 'namespace="acme",alertstate="pending",severity="page"')]: '1x10',
      [alert('FiresAlways', 'namespace="acme",alertstate="firing",severity="none"')]: '1x10',
      [alert('FiresElsewhere', 'namespace="elsewhere",alertstate="firing",severity="page"')]: '1x10',
    })
    expect(stock).toMatchObject({ budgetLeft: { failures: 0.25, slowness: -1 }, alerts: ['Fires'] })
  })
})

describe('readOtherAlerts()', () => {
  test("names what fires and is no service's own, once", async () => {
    const fires = (labels: Record<string, string>) => ({ labels, value: 1 })
    const answers = [
      fires({ alertname: 'CircuitOpen', service: 'booking' }),
      fires({ alertname: 'CertificateExpires', service: 'traefik', days: '21' }),
      fires({ alertname: 'CertificateExpires', service: 'traefik', days: '3' }),
      fires({ alertname: 'IngressErrors', service: 'traefik', exported_service: 'acme-stock-http@kubernetes' }),
    ]
    expect(await readOtherAlerts(prometheus([['ALERTS', answers]]), system, 'acme')).toEqual([
      'CertificateExpires (traefik)',
      'IngressErrors (acme-stock-http@kubernetes)',
    ])
  })
})
