import { describe, expect, test } from 'vitest'
import { bucketLabel } from '../../../infra/kit/alerts/slo-alerts.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { defineService, type SystemDefinition } from '../../../services/chassis/contract/graph.ts'
import { booking, project, runbookAt, stock, system } from '../../support/acme.ts'
import { hasPromtool, lintRules, promQl, type Series } from '../../support/promtool.ts'

interface Rule {
  alert?: string
  record?: string
  expr: string
  for?: string
  labels: Record<string, string>
  annotations?: Record<string, string>
}

interface Group {
  name: string
  rules: Rule[]
}

const groupsOf = (of: SystemDefinition): Group[] => {
  const images = Object.fromEntries(of.services.map(({ name }) => [name, `a/${name}:1`]))
  const { own, platform } = synthesize({ ...project, system: of, settings: loadSettings({}, system), images })
  return [...own, ...platform].filter(({ kind }) => kind === 'PrometheusRule').flatMap(({ spec }) => (spec as { groups: Group[] }).groups)
}
const groups = groupsOf(system)
const alerts = groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert)

/** The rules of a service, or of a part of the platform. */
const groupsOfOne = (service: string): Group[] => groups.filter(({ rules }) => rules.some(({ labels }) => labels.service === service))

/** Whether an alert of a service fires after a time with these series, one sample a minute. */
async function fires(alert: string, service: string, minutes: number, series: Series, labels: Record<string, string> = {}): Promise<boolean> {
  const firing = alerts.filter(rule => rule.alert === alert && rule.labels.service === service)
  expect(firing.length).toBeGreaterThan(0)
  const more = Object.entries(labels).map(([name, value]) => `,${name}="${value}"`)
  const found = await promQl(`ALERTS{alertname="${alert}",service="${service}",alertstate="firing"${more.join('')}}`, {
    series,
    minutes,
    groups: groupsOfOne(service),
  })
  return found.length > 0
}

const of = 'namespace="acme",pod="p",instance="i"'
const duration = (job: string, suffix: string, labels: string) => `http_server_request_duration_seconds_${suffix}{job="${job}",${of},${labels}}`
/** Requests a minute: 100, of which some fail and some are slow. */
const traffic = (job: string, le: string, { failed = 0, slow = 0 }, minutes: number, perMinute = 100): Series => ({
  [duration(job, 'count', 'http_response_status_code="200"')]: `0+${perMinute - failed}x${minutes}`,
  [duration(job, 'count', 'http_response_status_code="503"')]: `0+${failed}x${minutes}`,
  [duration(job, 'bucket', `http_response_status_code="200",le="${le}"`)]: `0+${perMinute - slow}x${minutes}`,
})
/** Calls by gRPC a minute: 100, of which some end with some code and some are slow. */
const calls = (job: string, le: string, { ended = 0, code = 'UNAVAILABLE', slow = 0 }, minutes: number, perMinute = 100): Series => {
  const series = (suffix: string, labels: string) =>
    `rpc_server_call_duration_seconds_${suffix}{job="${job}",${of},rpc_system_name="grpc",rpc_method="acme.v1.A/B",${labels}}`
  return {
    [series('count', 'rpc_response_status_code="OK"')]: `0+${perMinute - ended}x${minutes}`,
    [series('count', `rpc_response_status_code="${code}"`)]: `0+${ended}x${minutes}`,
    [series('bucket', `rpc_response_status_code="OK",le="${le}"`)]: `0+${perMinute - slow}x${minutes}`,
  }
}
/** 120 requests in an hour. */
const quiet = ({ failed }: { failed: number }): Series => traffic('stock', '0.25', { failed: failed / 60 }, 70, 2)
const up = (job: string, values: string[]): Series =>
  Object.fromEntries(values.map((value, n) => [`up{job="${job}",namespace="acme",endpoint="admin",pod="p${n}"}`, value]))

const ready = (values: string[]): Series =>
  Object.fromEntries(values.map((value, n) => [`service_ready{job="stock",namespace="acme",endpoint="admin",pod="p${n}"}`, value]))

/** Two pods with their collectors, of which one has yet to start. */
const startingPods = (values: string): Series => ({
  'up{job="stock",namespace="acme",endpoint="otel-metrics",pod="p0"}': '1x10',
  'up{job="stock",namespace="acme",endpoint="otel-metrics",pod="p1"}': '1x10',
  'up{job="stock",namespace="acme",endpoint="admin",pod="p0"}': '1x10',
  'up{job="stock",namespace="acme",endpoint="admin",pod="p1"}': values,
})
/** The clock of promtool begins at 0, so a key is older by being from before it. */
const sealsOf = (days: number): Series => ({
  [`secret_since_timestamp_seconds{job="stock",${of},secret="seals"}`]: `${-days * 86_400}x120`,
})
const certificate = (endsAtMinute: number, serial = '1'): Series => ({
  [`traefik_tls_certs_not_after{job="traefik",namespace="ingress",cn="acme.localhost",sans="localhost",serial="${serial}"}`]: `${endsAtMinute * 60}x60`,
})
const throughIngress = (failed: number, all = 100): Series => {
  const of = 'job="traefik",namespace="ingress",exported_service="acme-stock-http@kubernetes"'
  return {
    [`traefik_router_requests_total{${of},code="200"}`]: `0+${all - failed}x30`,
    [`traefik_router_requests_total{${of},code="503"}`]: `0+${failed}x30`,
  }
}

describe('alerts', () => {
  test('each says how bad it is, what happens, and where to read what to do', () => {
    const ofOrder = alerts.filter(({ labels }) => labels?.service === 'booking').map(({ alert }) => alert)
    expect([...new Set(ofOrder)].sort()).toEqual([
      'CircuitOpen',
      'LookupsFail',
      'NotStarting',
      'OutboxParked',
      'OutboxStuck',
      'Restarting',
      'SloErrorBurn',
      'SloLatencyBurn',
      'TargetDown',
      'TooFewPods',
    ])
    for (const { alert, labels, annotations = {}, for: wait } of alerts) {
      expect(alert === 'Watchdog' ? ['none'] : ['page', 'ticket'], alert).toContain(labels.severity)
      expect(wait, alert).toMatch(/^\d+[mh]$/)
      expect(Object.keys(annotations).sort(), alert).toEqual(['description', 'runbook_url', 'summary'])
      expect(runbookAt(annotations.runbook_url as string), annotations.runbook_url).toBeDefined()
    }
  })

  test('the threshold is written as Prometheus 3 writes buckets', () => {
    expect([bucketLabel(250), bucketLabel(1_000), bucketLabel(2_500), bucketLabel(5)]).toEqual(['0.25', '1.0', '2.5', '0.005'])
  })
})

test('whoever has a database may have messages left in its outbox, also of commands that it no longer sends', () => {
  const outboxAlerts = (service: string) =>
    groups
      .filter(({ name }) => name === `${service}-health`)
      .flatMap(({ rules }) => rules.flatMap(({ alert }) => (alert?.startsWith('Outbox') ? [alert] : [])))
  expect(outboxAlerts('booking')).toEqual(['OutboxStuck', 'OutboxParked'])
  expect(outboxAlerts('stock')).toEqual(['OutboxStuck', 'OutboxParked'])
  expect(outboxAlerts('hello')).toEqual([])
})

test('the rules of a service read its own records alone, so that the tests below have to evaluate no others', () => {
  const records = new Set(groups.flatMap(({ rules }) => rules.flatMap(({ record }) => record ?? [])))
  for (const { expr, labels } of groups.flatMap(({ rules }) => rules))
    for (const [read, name = ''] of expr.matchAll(/([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?/g))
      if (records.has(name)) expect(read).toContain(`service="${labels.service}"`)
})

describe.runIf(hasPromtool)('by promtool', () => {
  test('the rules pass every lint', async () => {
    expect(await lintRules(groups)).toBeUndefined()
  })

  test('the rules of a service with two dependencies that it can do without pass as well', async () => {
    const front = defineService({
      name: 'front',
      port: 8_089,
      contract: {},
      database: 'front',
      calls: [stock, booking].map(to => ({ to, mode: 'optional' as const, attemptTimeoutMs: 500 })),
      timeoutMs: 2_000,
      maxConcurrency: 10,
      slo: { availability: 0.99, latency: { thresholdMs: 500, objective: 0.99 } },
      scale: { min: 1, max: 2 },
    })
    const grown = groupsOf({ ...system, services: [...system.services, front] })
    expect(await lintRules(grown)).toBeUndefined()
    const own = grown.filter(({ name }) => name.startsWith('front-')).flatMap(({ rules }) => rules)
    expect(own.filter(({ alert }) => alert === 'CircuitOpen').map(({ labels }) => labels.peer_service)).toEqual(['stock', 'booking'])
  })

  type Row = [alert: string, when: string, minutes: number, Series, labels: Record<string, string>, expected: boolean]
  // Objective 99.9 %: 14.4 times too fast is 1.44 % of the requests.
  test.each<Row>([
    ['SloErrorBurn', '2 % fail for an hour', 62, traffic('stock', '0.25', { failed: 2 }, 70), { severity: 'page', window: '1h' }, true],
    ['SloErrorBurn', '1 % fails for an hour', 62, traffic('stock', '0.25', { failed: 1 }, 70), { severity: 'page', window: '1h' }, false],
    ['SloErrorBurn', '1 % fails for six hours', 365, traffic('stock', '0.25', { failed: 1 }, 370), { severity: 'page', window: '6h' }, true],
    ['SloErrorBurn', '1 % fails for six hours', 365, traffic('stock', '0.25', { failed: 1 }, 370), { severity: 'ticket', window: '1d' }, true],
    ['SloErrorBurn', 'two of 120 fail in an hour', 62, quiet({ failed: 2 }), {}, false],
    ['SloErrorBurn', '20 of 120 fail in an hour', 62, quiet({ failed: 20 }), { severity: 'page', window: '1h' }, true],
    ['SloErrorBurn', 'nothing fails', 62, traffic('stock', '0.25', {}, 70), {}, false],
    ['SloErrorBurn', 'there is no data', 62, {}, {}, false],
    // Objective 99 % within 250 ms: 14.4 times too fast is 14.4 % of the requests.
    ['SloLatencyBurn', '20 % are slow for an hour', 62, traffic('stock', '0.25', { slow: 20 }, 70), { severity: 'page', window: '1h' }, true],
    ['SloLatencyBurn', '10 % are slow for an hour', 62, traffic('stock', '0.25', { slow: 10 }, 70), { severity: 'page', window: '1h' }, false],
    ['SloLatencyBurn', 'four of 12 are slow in an hour', 62, traffic('stock', '0.25', { slow: 0.07 }, 70, 0.2), {}, false],
    ['SloLatencyBurn', 'nothing is slow', 62, traffic('stock', '0.25', {}, 70), {}, false],
    ['SloLatencyBurn', 'there is no data', 62, {}, {}, false],
    ['SloErrorBurn', '2 % fail by gRPC, and nobody asks by HTTP', 62, calls('stock', '0.25', { ended: 2 }, 70), { window: '1h' }, true],
    ['SloErrorBurn', '1 % fails by gRPC, and nobody asks by HTTP', 62, calls('stock', '0.25', { ended: 1 }, 70), { window: '1h' }, false],
    [
      'SloErrorBurn',
      'nothing fails by HTTP and 4 % by gRPC, as many calls',
      62,
      { ...traffic('stock', '0.25', {}, 70), ...calls('stock', '0.25', { ended: 4 }, 70) },
      { window: '1h' },
      true,
    ],
    [
      'SloErrorBurn',
      'nothing fails by HTTP and 2 % by gRPC, as many calls',
      62,
      { ...traffic('stock', '0.25', {}, 70), ...calls('stock', '0.25', { ended: 2 }, 70) },
      { window: '1h' },
      false,
    ],
    [
      'SloErrorBurn',
      'nothing fails by gRPC and 4 % by HTTP, as many calls',
      62,
      { ...traffic('stock', '0.25', { failed: 4 }, 70), ...calls('stock', '0.25', {}, 70) },
      { window: '1h' },
      true,
    ],
    ...['UNKNOWN', 'DEADLINE_EXCEEDED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'].map((code): Row => {
      return ['SloErrorBurn', `20 % end with ${code}`, 62, calls('stock', '0.25', { ended: 20, code }, 70), { window: '1h' }, true]
    }),
    ...['INVALID_ARGUMENT', 'CANCELLED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'UNIMPLEMENTED'].map((code): Row => {
      return ['SloErrorBurn', `20 % end with ${code}`, 62, calls('stock', '0.25', { ended: 20, code }, 70), {}, false]
    }),
    ['SloLatencyBurn', '20 % are slow by gRPC alone', 62, calls('stock', '0.25', { slow: 20 }, 70), { severity: 'page', window: '1h' }, true],
    [
      'SloLatencyBurn',
      'nothing is slow by HTTP and 40 % by gRPC, as many calls',
      62,
      { ...traffic('stock', '0.25', {}, 70), ...calls('stock', '0.25', { slow: 40 }, 70) },
      { severity: 'page', window: '1h' },
      true,
    ],
    [
      'SloLatencyBurn',
      'nothing is slow by HTTP and 20 % by gRPC, as many calls',
      62,
      { ...traffic('stock', '0.25', {}, 70), ...calls('stock', '0.25', { slow: 20 }, 70) },
      { severity: 'page', window: '1h' },
      false,
    ],
    ['TooFewPods', 'one pod of two is ready', 8, ready(['1x10', '0x10']), {}, true],
    ['TooFewPods', 'both answer and none is ready', 8, { ...up('stock', ['1x10', '1x10']), ...ready(['0x10', '0x10']) }, {}, true],
    ['TooFewPods', 'both are ready', 8, ready(['1x10', '1x10']), {}, false],
    ['TooFewPods', 'there is no data', 8, {}, {}, true],
    ['TargetDown', 'a pod does not answer', 8, up('stock', ['1x10', '0x10']), {}, true],
    ['TargetDown', 'both answer', 8, up('stock', ['1x10', '1x10']), {}, false],
    ['TargetDown', 'there is no data', 8, {}, {}, false],
    [
      'Restarting',
      'a pod runs for four minutes and waits for five, again and again',
      58,
      { [`process_start_time_seconds{job="stock",${of},endpoint="admin"}`]: [1, 2, 3, 4, 5, 6, 7].map(start => `${start}x3 _x4`).join(' ') },
      {},
      true,
    ],
    [
      'Restarting',
      'a pod has started four times',
      30,
      { [`process_start_time_seconds{job="stock",${of},endpoint="admin"}`]: '1 1 2 2 3 3 4 4x30' },
      {},
      false,
    ],
    ['Restarting', 'there is no data', 12, {}, {}, false],
    ['NotStarting', 'the collector of a pod answers and the service does not', 8, startingPods('0x10'), {}, true],
    ['NotStarting', 'both answer', 8, startingPods('1x10'), {}, false],
    ['NotStarting', 'the service comes after two minutes', 8, startingPods('0 0 1x10'), {}, false],
    ['NotStarting', 'there is no data', 8, {}, {}, false],
    ['SecretOverdue', 'the key is 91 days old', 120, sealsOf(91), {}, true],
    ['SecretOverdue', 'it is 89 days old', 120, sealsOf(89), {}, false],
    ['SecretOverdue', 'there is no data', 120, {}, {}, false],
  ])('%s of stock when %s (after %d min)', async (alert, _, minutes, input, labels, expected) => {
    expect(await fires(alert, 'stock', minutes, input, labels)).toBe(expected)
  })

  const DAY = 1_440
  test.each<[string, string, Series, Record<string, string>, boolean]>([
    ['CertificateExpires', 'the certificate is good for 20 days', certificate(20 * DAY), { severity: 'ticket' }, true],
    ['CertificateExpires', 'the certificate is good for 20 days', certificate(20 * DAY), { severity: 'page' }, false],
    ['CertificateExpires', 'the certificate is good for 2 days', certificate(2 * DAY), { severity: 'page' }, true],
    ['CertificateExpires', 'the certificate is good for 22 days', certificate(22 * DAY), {}, false],
    ['CertificateExpires', 'the one before it was good for 2 days', { ...certificate(2 * DAY, '1'), ...certificate(90 * DAY, '2') }, {}, false],
    ['CertificateExpires', 'there is no data', {}, {}, false],
    ['IngressErrors', 'a tenth of the requests come to no pod', throughIngress(10), {}, true],
    ['IngressErrors', 'one in 25 fails', throughIngress(4), {}, false],
    ['IngressErrors', 'three of 40 fail in five minutes', throughIngress(0.6, 8), {}, false],
    ['IngressErrors', 'there is no data', {}, {}, false],
  ])('%s of the ingress when %s', async (alert, _, input, labels, expected) => {
    expect(await fires(alert, 'traefik', 20, input, labels)).toBe(expected)
  })

  test('Watchdog fires without any data', async () => {
    expect(await fires('Watchdog', 'prometheus', 1, {})).toBe(true)
  })

  test.each<[string, string, Series, boolean]>([
    ['traefik', 'it answers', { 'up{job="traefik",namespace="ingress",pod="p"}': '1x10' }, false],
    ['traefik', 'it does not answer', { 'up{job="traefik",namespace="ingress",pod="p"}': '0x10' }, true],
    ['traefik', 'there is no data', {}, true],
    ['jaeger', 'it answers', { 'up{job="jaeger",namespace="observability",pod="p"}': '1x10' }, false],
    ['alertmanager', 'there is no data', {}, true],
    ['prometheus-operator', 'there is no data', {}, true],
  ])('PlatformDown of %s when %s', async (service, _, input, expected) => {
    expect(await fires('PlatformDown', service, 8, input)).toBe(expected)
  })

  /** How much of the budget is gone, of the part that a service of its age can spend. */
  const spent = (metric: string) =>
    `round((1 - service:http_server_${metric}:budget_left{service="stock"}) * 86400 / count_over_time(service:http_server_requests:rate5m{service="stock"}[30d]), 0.01)`
  const labels = { namespace: 'acme', service: 'stock' }

  test.each([
    ['errors', 'a tenth of a percent fails, as the objective allows', { failed: 0.1 }, 1],
    ['errors', 'nothing fails', {}, 0],
    ['errors', 'twice as many fail', { failed: 0.2 }, 2],
    ['slow', 'half a percent is slow', { slow: 0.5 }, 0.5],
  ])('the budget for %s when %s', async (metric, _, bad, gone) => {
    expect(await promQl(spent(metric), { series: traffic('stock', '0.25', bad, 120), minutes: 120, groups: groupsOfOne('stock') })).toEqual([
      { labels, value: gone },
    ])
  })

  test('the budget is one for both protocols, and that of either while the other is not asked', async () => {
    const at = async (series: Series) => (await promQl(spent('errors'), { series, minutes: 120, groups: groupsOfOne('stock') }))[0]?.value
    expect(await at(calls('stock', '0.25', { ended: 0.1 }, 120))).toBe(1)
    expect(await at({ ...traffic('stock', '0.25', { failed: 0.1 }, 120), ...calls('stock', '0.25', { ended: 0.3 }, 120) })).toBe(2)
  })

  test('a service of two hours that fails twice as often as it may has most of its month left', async () => {
    const [left] = await promQl('service:http_server_errors:budget_left{service="stock"}', {
      series: traffic('stock', '0.25', { failed: 0.2 }, 120),
      minutes: 120,
      groups: groupsOfOne('stock'),
    })
    expect(left?.value).toBeGreaterThan(0.99)
    expect(left?.value).toBeLessThan(1)
  })

  const soldOut = (values: string) => ({ [`sold_out_total{job="stock",${of}}`]: values })
  test.each<[string, Series, boolean]>([
    ['ten reservations find nothing in half an hour', soldOut('0x10 0+1x10 10x40'), true],
    ['two do', soldOut('0x10 0+1x2 2x40'), false],
    ['there is no data', {}, false],
  ])('SoldOut of stock when %s', async (_, input, expected) => {
    expect(await fires('SoldOut', 'stock', 30, input)).toBe(expected)
  })

  const unknownKeys = (values: string) => ({ [`workload_unknown_key_total{job="stock",${of}}`]: values })
  test.each<[string, Series, boolean]>([
    ['a call in a minute is refused for its key', unknownKeys('0x5 1+1x20'), true],
    ['the last was a quarter of an hour ago', unknownKeys('0 1x30'), false],
    ['there is no data', {}, false],
  ])('WorkloadKeyUnknown of stock when %s', async (_, input, expected) => {
    expect(await fires('WorkloadKeyUnknown', 'stock', 20, input)).toBe(expected)
  })

  test('WorkloadKeyUnknown is an alert of those alone whom workloads call with a token: booking has no callers, and hello asks none for one', () => {
    const having = alerts.filter(({ alert }) => alert === 'WorkloadKeyUnknown').map(({ labels }) => labels.service)
    expect(having).toEqual(['stock'])
  })

  const gauge = (name: string, values: string, labels = '') => ({ [`${name}{job="booking",${of}${labels}}`]: values })
  const lookups = (outcomes: { failed: string; found: string }, pod = 'booking-a'): Series =>
    Object.fromEntries(
      Object.entries(outcomes).map(([outcome, values]) => [
        `discovery_lookups_total{job="booking",namespace="acme",pod="${pod}",peer_service="stock",outcome="${outcome}"}`,
        values,
      ]),
    )
  test.each<[string, string, Series, boolean]>([
    ['CircuitOpen', 'a circuit is open', gauge('http_client_circuit_state', '2x10', ',peer_service="stock"'), true],
    ['CircuitOpen', 'it is half open at every third look', gauge('http_client_circuit_state', '2 2 1 2 2 1 2 2 1 2', ',peer_service="stock"'), true],
    ['CircuitOpen', 'it is closed', gauge('http_client_circuit_state', '0x10', ',peer_service="stock"'), false],
    ['CircuitOpen', 'there is no data', {}, false],
    ['LookupsFail', 'all lookups fail', lookups({ failed: '0+60x10', found: '7x10' }), true],
    ['LookupsFail', 'one in a minute succeeds', lookups({ failed: '0+60x10', found: '0+1x10' }), false],
    ['LookupsFail', 'nothing is looked for', lookups({ failed: '60x10', found: '60x10' }), false],
    [
      'LookupsFail',
      'another pod has answers',
      { ...lookups({ failed: '0+60x10', found: '7x10' }), ...lookups({ failed: '0x10', found: '0+60x10' }, 'booking-b') },
      true,
    ],
    ['LookupsFail', 'there is no data', {}, false],
    ['OutboxStuck', 'a message is six minutes old', gauge('outbox_oldest_age_seconds', '360x10'), true],
    ['OutboxStuck', 'the oldest is young', gauge('outbox_oldest_age_seconds', '200x10'), false],
    ['OutboxStuck', 'there is no data', {}, false],
    ['OutboxParked', 'a message is parked', gauge('outbox_parked', '1x10'), true],
    ['OutboxParked', 'none is', gauge('outbox_parked', '0x10'), false],
    ['OutboxParked', 'there is no data', {}, false],
  ])('%s of booking when %s', async (alert, _, input, expected) => {
    expect(await fires(alert, 'booking', 8, input)).toBe(expected)
  })
})
