import { describe, expect, test } from 'vitest'
import { loadSettings } from '../../../../infra/kit/settings/settings.ts'
import { NotHere } from '../../../../scripts/doctor/check.ts'
import { createTrip, type Trip } from '../../../../scripts/doctor/checks/journey.ts'
import { edgesOf, type Trace, traceChecks } from '../../../../scripts/doctor/checks/traces.ts'
import type { Taken } from '../../../../scripts/journey/take-step.ts'
import { toRun } from '../../../../scripts/remedy.ts'
import { CommandError } from '../../../../scripts/terminal.ts'
import type { ServiceDefinition } from '../../../../services/chassis/contract/graph.ts'
import { booking as bookings, EXISTING, stock, system } from '../../../support/acme.ts'
import {
  answering,
  breakCollector,
  contextOf,
  type FakeCluster,
  fakeCluster,
  hangingUp,
  podOf,
  type Routes,
  runCheck,
  skipPauses,
} from '../../../support/fake-cluster.ts'

/** Of both protocols, since one of the services is served by gRPC. */
const EXEMPLARS = ['http_server_request', 'rpc_server_call'].map(name => `${name}_duration_seconds_bucket{namespace="acme"}`).join(' or ')

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'

/** A span as `[id, service, parent]`, the parent by a reference of some type. Those of stock are of gRPC. */
type Row = [id: string, service: string, parent?: string, refType?: string]

const traceOf = (...rows: Row[]): Trace => ({
  processes: Object.fromEntries(rows.map(([, serviceName]) => [`p-${serviceName}`, { serviceName }])),
  spans: rows.map(([spanID, service, parent, refType = 'CHILD_OF']) => ({
    spanID,
    operationName: 'x',
    processID: `p-${service}`,
    references: parent ? [{ refType, traceID: TRACE_ID, spanID: parent }] : [],
    tags: service === 'stock' ? [{ key: 'rpc.system.name', value: 'grpc' }] : [],
  })),
})

const booking: Row[] = [
  ['1', 'traefik'],
  ['2', 'booking', '1'],
  ['3', 'booking', '2'],
  ['4', 'stock', '3'],
]

describe('edgesOf(trace)', () => {
  test.each<[string, Row[], string[]]>([
    ['a booking', booking, ['booking -> stock by gRPC', 'traefik -> booking']],
    ['spans in any order, and each edge once', [['5', 'stock', '3'], ...booking.toReversed()], ['booking -> stock by gRPC', 'traefik -> booking']],
    [
      'one service',
      [
        ['1', 'booking'],
        ['2', 'booking', '1'],
      ],
      [],
    ],
    ['a caller of another trace', [['2', 'booking', 'elsewhere']], []],
    [
      'what merely follows',
      [
        ['1', 'booking'],
        ['2', 'stock', '1', 'FOLLOWS_FROM'],
      ],
      [],
    ],
    ['nothing', [], []],
  ])('of %s', (_, rows, edges) => {
    expect(edgesOf(traceOf(...rows))).toEqual(edges)
  })
})

/** acme with a Jaeger that has some traces, and a Prometheus. */
async function clusterWith({
  traces = {},
  delivered = () => [],
  ...more
}: {
  traces?: Record<string, () => Trace | undefined>
  /** Of the commands of an outbox. */
  delivered?: (query: URLSearchParams) => Trace[]
  exemplars?: () => object[]
}) {
  const fake = fakeCluster()
  for (const name of ['jaeger', 'prometheus']) fake.put(podOf(name, { namespace: 'observability' }))
  const routes = Object.entries(traces).map(([id, trace]): [string, Routes[string]] => [
    `/api/traces/${id}`,
    () => {
      const found = trace()
      return found ? Response.json({ data: [found] }) : Response.json({ errors: [{ msg: 'trace not found' }] }, { status: 404 })
    },
  ])
  const jaeger: Routes = {
    '/api/services': () => Response.json({ data: ['booking'] }),
    '/api/traces': query => Response.json({ data: delivered(query) }),
    ...Object.fromEntries(routes),
  }
  fake.listening.set('observability/jaeger-a:16686', await answering(jaeger))
  const exemplars = (query: URLSearchParams) => Response.json({ data: query.get('query') === EXEMPLARS ? more.exemplars?.() : [] })
  fake.listening.set('observability/prometheus-a:9090', await answering({ '/api/v1/query_exemplars': exemplars }))
  return fake
}

/** A step that was taken, whose request has a trace. */
const taken = (service: ServiceDefinition, name: string, crosses: string[], traceId = TRACE_ID): Taken => ({
  step: { service, name, operation: service.contract[name] as Taken['step']['operation'], headers: {}, crosses },
  title: `${service.name}.${name}`,
  sent: { headers: {} },
  status: 200,
  body: undefined,
  ms: 1,
  traceId,
})
const TAKEN = [taken(stock, 'logIn', [], 'of-a-step-that-crosses-nothing'), taken(bookings, 'book', ['stock'])]
const tripOf = (steps: Taken[]): Trip => ({ take: async () => steps })

const run = (fake: FakeCluster, name: string, more = {}, signal?: AbortSignal) =>
  runCheck(traceChecks(contextOf(fake, more), tripOf(TAKEN)), name, signal)

describe('trace', () => {
  test('is whole when it shows every edge that a step crosses, from the ingress on', async () => {
    const fake = await clusterWith({ traces: { [TRACE_ID]: () => traceOf(...booking) } })
    expect(await run(fake, 'trace')).toBe('booking.book, 4 spans: booking -> stock by gRPC, traefik -> booking')
  })

  test('is whole when a command that links to it shows the edge', async () => {
    skipPauses()
    const command = (cause: string): Trace => {
      const trace = traceOf(['a', 'booking'], ['b', 'stock', 'a'])
      trace.spans[0]?.references.push({ refType: 'FOLLOWS_FROM', traceID: cause, spanID: '3' })
      return trace
    }
    const traces = { [TRACE_ID]: () => traceOf(...booking.slice(0, 3)) }
    const asked: (string | null)[] = []
    const fake = await clusterWith({
      traces,
      delivered: query => {
        asked.push(query.get('service'), query.get('operation'))
        return [command('another'), command(TRACE_ID)]
      },
    })
    expect(await run(fake, 'trace')).toBe('booking.book, 3 spans: booking -> stock by gRPC, traefik -> booking')
    expect(new Set(asked)).toEqual(new Set(['booking', 'outbox stock.reserve', 'outbox stock.release']))
    const strange = await clusterWith({ traces, delivered: () => [command('another')] })
    await expect(run(strange, 'trace')).rejects.toThrow(`the trace ${TRACE_ID} of booking.book lacks booking -> stock by gRPC`)
  })

  test('is looked for of each step that crosses into another service', async () => {
    skipPauses()
    const fake = await clusterWith({ traces: { [TRACE_ID]: () => traceOf(...booking), second: () => traceOf(...booking.slice(0, 3)) } })
    const both = tripOf([...TAKEN, taken(bookings, 'cancelBooking', ['stock'], 'second')])
    await expect(runCheck(traceChecks(contextOf(fake), both), 'trace')).rejects.toThrow(
      'the trace second of booking.cancelBooking lacks booking -> stock by gRPC',
    )
  })

  test('is that of the first step where none crosses into another service', async () => {
    const fake = await clusterWith({ traces: { first: () => traceOf(...booking.slice(0, 2)) } })
    const trip = tripOf([taken(bookings, 'listProducts', [], 'first'), taken(bookings, 'listBookings', [], 'second')])
    expect(await runCheck(traceChecks(contextOf(fake), trip), 'trace')).toBe('booking.listProducts, 2 spans: traefik -> booking')
  })

  test('is not looked for in a system without a journey', async () => {
    const context = contextOf(await clusterWith({}))
    await expect(runCheck(traceChecks(context, createTrip(context, undefined)), 'trace')).rejects.toEqual(
      new NotHere('the system has no journey (infra/journey.ts)'),
    )
  })

  test('is waited for, and for the rest of it', async () => {
    skipPauses()
    const answers = [undefined, traceOf(), traceOf(...booking.slice(0, 3)), traceOf(...booking)]
    let looks = 0
    const fake = await clusterWith({ traces: { [TRACE_ID]: () => answers[looks++] } })
    expect(await run(fake, 'trace')).toBe('booking.book, 4 spans: booking -> stock by gRPC, traefik -> booking')
    expect(looks).toBe(4)
  })

  test('lacks an edge by gRPC whose call went by HTTP', async () => {
    skipPauses()
    const byHttp = traceOf(...booking)
    for (const span of byHttp.spans) span.tags = [{ key: 'http.request.method', value: 'PUT' }]
    await expect(run(await clusterWith({ traces: { [TRACE_ID]: () => byHttp } }), 'trace')).rejects.toThrow(
      `the trace ${TRACE_ID} of booking.book lacks booking -> stock by gRPC`,
    )
  })

  test('lacks an edge, for what carries it is not as the graph gives it', async () => {
    skipPauses()
    const fake = await clusterWith({ traces: { [TRACE_ID]: () => traceOf(...booking.slice(1)) } })
    fake.objects.delete('NetworkPolicy ingress/traefik')
    await expect(run(fake, 'trace')).rejects.toMatchObject({
      message: `the trace ${TRACE_ID} of booking.book lacks traefik -> booking; the cause: NetworkPolicy ingress/traefik: not there`,
      remedy: toRun('npx fairlead deploy --context kind-test'),
    })
  })

  test('begins at the service where the ingress is not ours', async () => {
    const fake = await clusterWith({ traces: { [TRACE_ID]: () => traceOf(...booking.slice(1)) } })
    expect(await run(fake, 'trace', { settings: loadSettings({ ...EXISTING, TRACING_NAMESPACE: 'observability' }, system) })).toBe(
      'booking.book, 3 spans: booking -> stock by gRPC',
    )
  })

  test.each<[string, Record<string, () => Trace>]>([
    ['does not come', {}],
    ['does not come without a span', { [TRACE_ID]: () => traceOf() }],
  ])('%s', async (_, traces) => {
    skipPauses()
    const fake = await clusterWith({ traces })
    await expect(run(fake, 'trace')).rejects.toMatchObject({
      message: `the trace ${TRACE_ID} of booking.book has not come to Jaeger`,
      remedy: toRun('kubectl --context kind-test -n acme logs -l app.kubernetes.io/name=booking -c collector'),
    })
  })

  test.each(['ConfigMap observability/jaeger', 'Service observability/jaeger', 'Deployment observability/jaeger'])(
    'does not come for want of %s',
    async name => {
      skipPauses()
      const fake = await clusterWith({})
      fake.objects.delete(name)
      await expect(run(fake, 'trace')).rejects.toThrow(`has not come to Jaeger; the cause: ${name}: not there`)
    },
  )

  test('is not waited for without a Jaeger, and no journey is taken for it', async () => {
    const fake = await clusterWith({})
    fake.objects.delete('Pod observability/jaeger-a')
    const trip = { take: () => Promise.reject(new Error('one was taken')) }
    await expect(runCheck(traceChecks(contextOf(fake), trip), 'trace')).rejects.toThrow('observability/jaeger has no pod')
  })

  test('is not waited for once Jaeger is broken', async () => {
    const fake = await clusterWith({})
    const broken = { '/api/services': () => Response.json({}), [`/api/traces/${TRACE_ID}`]: () => new Response('no storage', { status: 500 }) }
    fake.listening.set('observability/jaeger-a:16686', await answering(broken))
    await expect(run(fake, 'trace')).rejects.toThrow(`observability/jaeger:16686/api/traces/${TRACE_ID} answered 500: no storage`)
  })

  test('is not looked for when the journey failed', async () => {
    const trip = { take: () => Promise.reject(new CommandError('register: POST /stock answered 503 overloaded')) }
    const checks = traceChecks(contextOf(await clusterWith({ traces: { [TRACE_ID]: () => traceOf() } })), trip)
    await expect(runCheck(checks, 'trace')).rejects.toMatchObject({
      name: 'CommandError',
      message: 'no journey was taken, whose traces would be looked for: register: POST /stock answered 503 overloaded',
    })
  })

  test('is not waited for once it is interrupted', async () => {
    await expect(run(await clusterWith({}), 'trace', {}, AbortSignal.abort(new Error('Ctrl-C')))).rejects.toThrow('Ctrl-C')
  })
})

describe('collector of a service', () => {
  interface Figures {
    queued?: number
    refused?: number
    dropped?: number
    failed?: number
    sent?: number
  }
  const figures = ({ queued = 0, refused = 0, dropped = 0, failed = 0, sent = 0 }: Figures) => `# HELP otelcol_exporter_queue_size Current size
# TYPE otelcol_exporter_queue_size gauge
otelcol_exporter_queue_size{data_type="traces",exporter="otlp"} ${queued}
otelcol_exporter_queue_capacity{exporter="otlp"} 1000
otelcol_receiver_refused_spans_total{receiver="otlp"} ${refused}
otelcol_exporter_enqueue_failed_spans_total{exporter="otlp"} ${dropped}
otelcol_exporter_send_failed_spans_total{exporter="otlp"} ${failed}
otelcol_exporter_sent_spans_total{exporter="otlp"} ${sent}
otelcol_exporter_sent_spans_total{exporter="other"} 1
otelcol_exporter_sent_spans_total 2
`

  /** Pods of bookings, of which each collector has its figures, and others when it is asked again. */
  async function withCollectors(...collectors: [before: Figures, after: Figures][]): Promise<FakeCluster> {
    skipPauses()
    const fake = fakeCluster()
    for (const [index, readings] of collectors.entries()) {
      const name = `booking-${index}`
      let asked = 0
      fake.put(podOf('booking', { name }))
      fake.listening.set(`acme/${name}:8888`, await answering({ '/metrics': () => new Response(figures(readings[asked++] as Figures)) }))
    }
    return fake
  }

  test('has sent all that it was given, as those of all pods together say', async () => {
    const fake = await withCollectors([{}, { sent: 4 }], [{ sent: 500 }, { sent: 1e3 }])
    expect(await run(fake, 'collector of booking')).toBe('1010 spans sent on by 2 pods')
    expect(fake.forwarded).toEqual([])
  })

  test.each<[string, Figures, Figures]>([
    ['it lost some long ago', { refused: 1, dropped: 2, failed: 3 }, { refused: 1, dropped: 2, failed: 3 }],
    ['it has started anew in between', { failed: 3 }, {}],
    ['a batch has just come', {}, { queued: 1 }],
    ['what waits gets less', { queued: 9 }, { queued: 8 }],
    ['nothing waits any more', { queued: 9 }, {}],
  ])('is well though %s', async (_, before, after) => {
    expect(await run(await withCollectors([before, after]), 'collector of booking')).toBe('3 spans sent on by 1 pods')
  })

  test.each<[Figures, Figures, number, number]>([
    [{ queued: 2 }, { queued: 2 }, 2, 0],
    [{ queued: 2 }, { queued: 3 }, 3, 0],
    [{ refused: 1 }, { refused: 8 }, 0, 7],
    [{ dropped: 1 }, { dropped: 8 }, 0, 7],
    [{ failed: 1 }, { failed: 8 }, 0, 7],
  ])('does not get rid of its spans: first %j, then %j', async (before, after, queued, lost) => {
    const fake = await withCollectors([{}, {}], [before, after])
    await expect(run(fake, 'collector of booking')).rejects.toMatchObject({
      message: `the collector of booking-1 does not get rid of its spans (${queued} batches wait, ${lost} spans were lost in 5 s)`,
      remedy: toRun('kubectl --context kind-test -n acme logs booking-1 -c collector'),
    })
    expect(fake.forwarded).toEqual([])
  })

  test('does not get rid of its spans, for its way to Jaeger is closed', async () => {
    const fake = await withCollectors([{ queued: 1 }, { queued: 1 }])
    fake.objects.delete('NetworkPolicy acme/booking')
    await expect(run(fake, 'collector of booking')).rejects.toThrow('were lost in 5 s); the cause: NetworkPolicy acme/booking: not there')
  })

  test('does not answer', async () => {
    const fake = await withCollectors([{}, {}])
    fake.listening.set('acme/booking-0:8888', await hangingUp())
    breakCollector(fake, 'booking')
    await expect(run(fake, 'collector of booking')).rejects.toThrow(
      /^the collector of booking-0 does not answer; the cause: Deployment acme\/booking: spec\.template\.spec\.initContainers\.0\.env\.4\.value is not what the graph says$/,
    )
    expect(fake.forwarded).toEqual([])
  })

  test('is not there without a ready pod', async () => {
    await expect(run(fakeCluster(), 'collector of booking')).rejects.toMatchObject({
      message: 'booking has no ready pod',
      remedy: toRun('npx fairlead status --context kind-test'),
    })
  })
})

describe('exemplar', () => {
  const exemplar = (trace_id: string | undefined, timestamp: number) => ({ labels: trace_id ? { trace_id } : {}, timestamp })
  const series = (...exemplars: object[]) => [{ seriesLabels: {}, exemplars }]

  test('of the newest leads to its trace', async () => {
    const fake = await clusterWith({
      exemplars: () => [...series(exemplar('old', 1), exemplar('gone', 9)), ...series(exemplar('new', 8), exemplar(undefined, 10))],
      traces: { old: () => traceOf(...booking), new: () => traceOf(...booking) },
    })
    expect(await run(fake, 'exemplar')).toBe('new leads to its trace')
  })

  test('is waited for', async () => {
    skipPauses()
    let looks = 0
    const fake = await clusterWith({ exemplars: () => (++looks < 3 ? [] : series(exemplar('a', 1))), traces: { a: () => traceOf(...booking) } })
    expect(await run(fake, 'exemplar')).toBe('a leads to its trace')
  })

  test('names a trace that Jaeger does not have', async () => {
    skipPauses()
    const fake = await clusterWith({ exemplars: () => series(exemplar('gone', 1)) })
    await expect(run(fake, 'exemplar')).rejects.toMatchObject({
      message: 'exemplars name traces that Jaeger does not have, e.g. gone',
      remedy: toRun('kubectl --context kind-test -n observability logs -l app.kubernetes.io/name=jaeger'),
    })
  })

  test('is not waited for without a Jaeger', async () => {
    const fake = await clusterWith({ exemplars: () => [] })
    fake.objects.delete('Pod observability/jaeger-a')
    await expect(run(fake, 'exemplar')).rejects.toThrow('observability/jaeger has no pod')
  })

  test('is not there, for Prometheus is not as the graph gives it', async () => {
    skipPauses()
    const fake = await clusterWith({ exemplars: () => [] })
    fake.edit('Prometheus observability/prometheus', ({ spec }) => {
      spec.enableFeatures = undefined
    })
    await expect(run(fake, 'exemplar')).rejects.toThrow(
      'Prometheus has no exemplar of any request; the cause: Prometheus observability/prometheus: spec.enableFeatures is absent, the graph says ["exemplar-storage"]',
    )
  })

  test('is not there, and all is as the graph gives it', async () => {
    skipPauses()
    await expect(run(await clusterWith({ exemplars: () => [] }), 'exemplar')).rejects.toMatchObject({
      message: 'Prometheus has no exemplar of any request',
      remedy: { advice: 'Prometheus needs the feature exemplar-storage' },
    })
  })
})
