import type { Span } from '@opentelemetry/api'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract } from '../../../services/chassis/contract/contract.ts'
import { ProblemError } from '../../../services/chassis/server/problem.ts'
import { createMetrics } from '../../../services/chassis/telemetry/metrics.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { startTinyService, type TinyService } from '../../support/tiny-service.ts'

const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
const TEXT = 'text/plain; version=0.0.4; charset=utf-8'
/** What Prometheus 3 asks for. */
const PROMETHEUS =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'

/** Names in the TYPE lines of counters, and the names of all samples. */
function namesIn(text: string): { counters: string[]; samples: Set<string> } {
  const lines = text.split('\n')
  return {
    counters: lines.flatMap(line => /^# TYPE (\S+) counter$/.exec(line)?.[1] ?? []),
    samples: new Set(lines.flatMap(line => /^([a-z_]+)[{ ]/.exec(line)?.[1] ?? [])),
  }
}

/** As far as it is looked at. */
const spanOf = (traceId: string, recording = true) => ({ spanContext: () => ({ traceId }), isRecording: () => recording }) as unknown as Span

describe('expose', () => {
  test.each([
    [undefined, TEXT],
    ['', TEXT],
    ['*/*', TEXT],
    ['text/plain;version=0.0.4', TEXT],
    ['application/openmetrics-text', OPEN_METRICS],
    [PROMETHEUS, OPEN_METRICS],
  ])('Accept %s is answered as %s', async (accept, contentType) => {
    const metrics = createMetrics()
    const exposed = await metrics.expose(accept)
    expect(exposed.contentType).toBe(contentType)
    expect(exposed.text.endsWith('# EOF\n')).toBe(contentType === OPEN_METRICS)
  })

  test("counters end in _total in both formats, Node's own among them, however often the format changes", async () => {
    const metrics = createMetrics()
    metrics.counter('orders_total', 'Orders', ['state']).inc({ state: 'confirmed' }, 3)
    for (const accept of [undefined, PROMETHEUS, undefined, PROMETHEUS, PROMETHEUS, undefined]) {
      const { text } = await metrics.expose(accept)
      const { counters, samples } = namesIn(text)
      expect(text).toContain('\norders_total{state="confirmed"} 3\n')
      expect(counters).toContain(accept ? 'orders' : 'orders_total')
      expect(counters).toContain(accept ? 'process_cpu_seconds' : 'process_cpu_seconds_total')
      for (const name of counters) {
        const family = name.replace(/_total$/, '')
        expect(name).toBe(accept ? family : `${family}_total`)
        expect(samples).toContain(`${family}_total`)
      }
    }
  })

  test('a counter whose labels are known begins at 0 for each of them', async () => {
    const metrics = createMetrics()
    metrics.counter('logins_total', 'Logins', ['outcome'], [{ outcome: 'ok' }, { outcome: 'refused' }]).inc({ outcome: 'ok' })
    const { text } = await metrics.expose(undefined)
    expect(text.split('\n').filter(line => line.startsWith('logins_total'))).toEqual([
      'logins_total{outcome="ok"} 1',
      'logins_total{outcome="refused"} 0',
    ])
  })

  test('two who ask for one metric share it, and the values of both are shown', async () => {
    const metrics = createMetrics()
    for (const peer of ['user', 'stock']) {
      metrics.counter('retries_total', 'Retries', ['peer'], [{ peer }]).inc({ peer }, 2)
      metrics.gauge('state', 'State', ['peer']).set({ peer }, 1)
    }
    const { text } = await metrics.expose(undefined)
    // The registry goes by another name of a counter once it has been scraped in OpenMetrics.
    await metrics.expose(OPEN_METRICS)
    metrics.counter('retries_total', 'Retries', ['peer']).inc({ peer: 'stock' }, 0)
    for (const line of ['retries_total{peer="user"} 2', 'retries_total{peer="stock"} 2', 'state{peer="user"} 1', 'state{peer="stock"} 1'])
      expect(text).toContain(line)
  })

  test('says since when a secret is in use, as it is at the scrape', async () => {
    const metrics = createMetrics()
    let since = 1_000
    metrics.secretSince('signing-keys', () => since)
    metrics.secretSince('another', () => 7)
    expect((await metrics.expose(undefined)).text).toContain('secret_since_timestamp_seconds{secret="signing-keys"} 1000\n')
    expect((await metrics.expose(undefined)).text).toContain('secret_since_timestamp_seconds{secret="another"} 7\n')
    since = 2_000
    expect((await metrics.expose(undefined)).text).toContain('secret_since_timestamp_seconds{secret="signing-keys"} 2000\n')
  })

  test('says whether the pod takes traffic, as it is at the scrape', async () => {
    const metrics = createMetrics()
    let ready = true
    metrics.readiness(async () => ready)
    expect((await metrics.expose(undefined)).text).toContain('service_ready 1\n')
    ready = false
    expect((await metrics.expose(undefined)).text).toContain('service_ready 0\n')
  })

  test('scrapes at the same time do not disturb each other', async () => {
    const metrics = createMetrics()
    metrics.counter('orders_total', 'Orders').inc()
    const accepts = Array.from({ length: 20 }, (_, i) => (i % 2 ? PROMETHEUS : undefined))
    const exposed = await Promise.all(accepts.map(accept => metrics.expose(accept)))
    expect(exposed.map(({ contentType, text }) => [contentType, ...(/# TYPE (orders\w*) counter\n(.*)\n/.exec(text)?.slice(1) ?? [])])).toEqual(
      accepts.map(accept => (accept ? [OPEN_METRICS, 'orders', 'orders_total 1'] : [TEXT, 'orders_total', 'orders_total 1'])),
    )
  })
})

describe('createMetrics', () => {
  const bounds = async (sloThresholdMs: number) => {
    const metrics = createMetrics({ sloThresholdMs })
    metrics.serverDuration.observe({ labels: { http_request_method: 'GET', http_route: '/', http_response_status_code: 200 }, value: 0.2 } as never)
    const { text } = await metrics.expose(undefined)
    return [...text.matchAll(/^http_server_request_duration_seconds_bucket\{le="([^"]+)"/gm)].map(([, bound]) => bound)
  }

  test.each([
    [250, '0.25'],
    [300, '0.3'],
    [1_000, '1'],
    [20_000, '20'],
  ])('an SLO threshold of %i ms is a bucket, once and in order', async (sloThresholdMs, bound) => {
    const found = await bounds(sloThresholdMs)
    expect(found.filter(other => other === bound)).toHaveLength(1)
    const numbers = found.slice(0, -1).map(Number)
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    expect(found.at(-1)).toBe('+Inf')
  })

  test('a trace is an exemplar when it failed, was slow, or is of the kept share', () => {
    const metrics = createMetrics({ sloThresholdMs: 250, keptShare: 0.5 })
    const [kept, dropped] = ['0'.repeat(32), 'f'.repeat(32)]
    expect(metrics.exemplar(spanOf(dropped), 0.1, false)).toBeUndefined()
    expect(metrics.exemplar(spanOf(dropped), 0.25, false)).toBeUndefined()
    expect(metrics.exemplar(spanOf(dropped), 0.26, false)).toEqual({ trace_id: dropped })
    expect(metrics.exemplar(spanOf(dropped), 0.1, true)).toEqual({ trace_id: dropped })
    expect(metrics.exemplar(spanOf(kept), 0.1, false)).toEqual({ trace_id: kept })
    // Its caller does not want it traced, so nobody could look at it.
    expect(metrics.exemplar(spanOf(kept, false), 0.1, true)).toBeUndefined()
  })
})

describe('measureRequests()', () => {
  const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
  let service: TinyService
  let inFlight: number

  beforeAll(async () => {
    const responses = { 204: { description: 'Done' } }
    const contract = defineContract({
      get: { method: 'GET', path: '/things/{id}', params: z.object({ id: z.string() }), summary: 'Get', auth: 'none', responses },
      fail: { method: 'POST', path: '/things/{id}', params: z.object({ id: z.string() }), summary: 'Fail', auth: 'none', responses },
      refuse: {
        method: 'PUT',
        path: '/things/{id}',
        params: z.object({ id: z.string() }),
        summary: 'Refuse',
        auth: 'none',
        responses,
        problems: { 409: ['taken'] },
      },
    })
    service = await startTinyService(contract, {
      get: async () => {
        inFlight = await service.runtime.metric('http_server_active_requests')
        return { status: 204 }
      },
      fail: async () => {
        throw new Error('boom')
      },
      refuse: async () => {
        throw new ProblemError(409, 'taken', 'Taken')
      },
    })
  })
  afterAll(() => service?.close())
  beforeEach(() => service.runtime.metrics.serverDuration.reset())

  const counted = async () => {
    const { text } = await service.runtime.metrics.expose(undefined)
    return text.split('\n').filter(line => line.startsWith('http_server_request_duration_seconds_count'))
  }
  const series = (method: string, route: string, status: number) =>
    `http_server_request_duration_seconds_count{http_request_method="${method}",http_route="${route}",http_response_status_code="${status}"} 1`

  test.each([
    ['GET', '/things/secret?a=b', '/things/{id}', 400],
    ['GET', '/things/secret', '/things/{id}', 204],
    ['HEAD', '/things/secret', '/things/{id}', 204],
    ['POST', '/things/secret', '/things/{id}', 500],
    ['PUT', '/things/secret', '/things/{id}', 409],
    ['PATCH', '/things/secret', '', 405],
    ['GET', '/secret', '', 404],
  ])('%s %s counts for the route "%s" with %i', async (method, path, route, status) => {
    await service.http(method, path)
    expect(await counted()).toEqual([series(method, route, status)])
  })

  test.each(['PROPFIND', 'LINK', 'PURGE'])('%s counts as _OTHER', async method => {
    await rawRequest(service.port, `${method} /things/7`)
    expect(await counted()).toEqual([series('_OTHER', '', 405)])
  })

  test('counts what is in flight, and nothing afterwards', async () => {
    await service.http('GET', '/things/7')
    expect(inFlight).toBe(1)
    await service.http('POST', '/things/7')
    expect(await service.runtime.metric('http_server_active_requests')).toBe(0)
  })

  test('a failed request leaves its trace id as an exemplar, which OpenMetrics shows and the text format does not', async () => {
    await service.http('POST', '/things/7', { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` } })
    const bucketLines = async (accept?: string) =>
      (await service.runtime.metrics.expose(accept)).text.split('\n').filter(line => line.startsWith('http_server_request_duration_seconds_bucket'))
    const withExemplar = (await bucketLines(PROMETHEUS)).filter(line => line.includes(' # '))
    expect(withExemplar).toEqual([expect.stringMatching(new RegExp(`\\} 1 # \\{trace_id="${TRACE}"\\} [\\d.e-]+ [\\d.]+$`))])
    expect((await bucketLines()).join('\n')).not.toContain('#')
  })

  test('an ordinary request whose trace is not kept leaves none', async () => {
    await service.http('GET', '/things/7', { headers: { traceparent: `00-${'f'.repeat(32)}-00f067aa0ba902b7-01` } })
    const { text } = await service.runtime.metrics.expose(PROMETHEUS)
    expect(text).toContain('http_route="/things/{id}"')
    expect(text).not.toContain('trace_id')
    expect(text).not.toContain(' # ')
  })
})
