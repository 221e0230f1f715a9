import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { expect, onTestFinished, test, vi } from 'vitest'
import { openExporter } from '../../../services/chassis/telemetry/exporter.ts'
import { fixed } from '../../../services/chassis/telemetry/otlp.ts'
import { createTracer } from '../../../services/chassis/telemetry/spans.ts'
import { listen } from '../../support/http.ts'

interface Taken {
  resourceSpans: { resource: { attributes: unknown[] }; scopeSpans: { scope: { name: string }; spans: Record<string, unknown>[] }[] }[]
}

/** A collector, and a tracer that sends to it. @param answer the status of each request in turn, 200 in the end */
async function open(answer: number[] = [], resource: Record<string, string> = { 'service.name': 'büro ☃' }) {
  const taken: Taken[] = []
  const asked: number[] = []
  const sizes: number[] = []
  const collector = await listen((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', chunk => chunks.push(chunk))
    req.on('end', () => {
      const status = answer.shift() ?? 200
      asked.push(status)
      sizes.push(Buffer.concat(chunks).length)
      if (status === 200) taken.push(JSON.parse(Buffer.concat(chunks).toString()))
      res.writeHead(status, { 'content-type': 'application/json' }).end('{}')
    })
  })
  const lost = vi.fn()
  const exporter = openExporter({ endpoint: collector.url, resource, onLost: lost })
  onTestFinished(async () => {
    await exporter.close()
    await collector.close()
  })
  const spans = () => taken.flatMap(({ resourceSpans }) => resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(one => one.spans)))
  return { taken, asked, sizes, lost, exporter, spans, tracer: createTracer({ resource, sink: exporter }) }
}

const lostSpans = (lost: ReturnType<typeof vi.fn>) => lost.mock.calls.reduce((sum, [count]) => sum + (count as number), 0)

test('a span is JSON of OTLP, with whatever texts', async () => {
  const { tracer, exporter, taken, spans } = await open()
  const parent = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1, isRemote: true }
  const statement = fixed({ 'db.query.text': 'select "ü" from t' })
  const span = tracer.startSpan(
    'say "hi" ☃',
    { kind: SpanKind.SERVER, attributes: statement, startTime: new Date(1_000) },
    trace.setSpanContext(ROOT_CONTEXT, parent),
  )
  span.setAttributes({ int: 7, double: 0.5, huge: 1e300, yes: true, list: ['a', 'b'] })
  span.addEvent('event', { n: 1 }, new Date(1_500)).addLink({ context: parent }).setStatus({ code: SpanStatusCode.ERROR, message: 'no' })
  span.end(new Date(2_000.25))
  await exporter.close()
  expect(taken[0]?.resourceSpans[0]?.resource.attributes).toEqual([{ key: 'service.name', value: { stringValue: 'büro ☃' } }])
  expect(spans()).toEqual([
    {
      traceId: parent.traceId,
      spanId: span.spanContext().spanId,
      parentSpanId: parent.spanId,
      flags: 0x301,
      name: 'say "hi" ☃',
      kind: 2,
      startTimeUnixNano: '1000000000',
      endTimeUnixNano: '2000000000',
      attributes: [
        { key: 'db.query.text', value: { stringValue: 'select "ü" from t' } },
        { key: 'int', value: { intValue: '7' } },
        { key: 'double', value: { doubleValue: 0.5 } },
        { key: 'huge', value: { doubleValue: 1e300 } },
        { key: 'yes', value: { boolValue: true } },
        { key: 'list', value: { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: 'b' }] } } },
      ],
      events: [{ name: 'event', timeUnixNano: '1500000000', attributes: [{ key: 'n', value: { intValue: '1' } }] }],
      links: [{ traceId: parent.traceId, spanId: parent.spanId, attributes: [], flags: 0x301 }],
      status: { code: 2, message: 'no' },
    },
  ])
})

test('512 spans go out at once, others within a second', async () => {
  const { tracer, taken, spans } = await open()
  for (let n = 0; n < 513; n++) tracer.startSpan(`span ${n}`).end()
  await vi.waitFor(() => expect(spans()).toHaveLength(512))
  expect(taken).toHaveLength(1)
  await vi.waitFor(() => expect(spans()).toHaveLength(513), { timeout: 5_000 })
  expect(new Set(spans().map(({ name }) => name)).size).toBe(513)
})

test('a batch is no larger than half a megabyte, and a span that is larger is lost', async () => {
  const { tracer, exporter, taken, sizes, spans, lost } = await open()
  for (let n = 0; n < 8; n++) tracer.startSpan('large', { attributes: { text: '☃'.repeat(40_000) } }).end()
  tracer.startSpan('too large', { attributes: { text: 'a'.repeat(600_000) } }).end()
  tracer.startSpan('small').end()
  await exporter.close()
  expect(taken.length).toBeGreaterThan(1)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(512 * 1_024)
  expect(spans().map(({ name }) => name)).toEqual([...Array.from({ length: 8 }, () => 'large'), 'small'])
  expect(lostSpans(lost)).toBe(1)
})

test('what the collector does not take now is sent again', async () => {
  const { tracer, asked, spans, lost } = await open([503, 429])
  tracer.startSpan('work').end()
  await vi.waitFor(() => expect(spans()).toHaveLength(1), { timeout: 8_000 })
  expect(asked).toEqual([503, 429, 200])
  expect(lost).not.toHaveBeenCalled()
}, 10_000)

test('what it refuses is lost and counted', async () => {
  const { tracer, exporter, asked, lost } = await open([400])
  for (let n = 0; n < 3; n++) tracer.startSpan('work').end()
  await exporter.close()
  expect(asked).toEqual([400])
  expect(lostSpans(lost)).toBe(3)
})

test('beyond 4,096 that wait spans are lost and counted', async () => {
  const gone = await listen(() => {})
  await gone.close()
  const lost = vi.fn()
  const exporter = openExporter({ endpoint: gone.url, resource: {}, onLost: lost })
  const tracer = createTracer({ resource: {}, sink: exporter })
  for (let n = 0; n < 5_000; n++) tracer.startSpan('work').end()
  expect(lostSpans(lost)).toBe(5_000 - 4_096)
  await exporter.close()
  expect(lostSpans(lost)).toBe(5_000)
})
