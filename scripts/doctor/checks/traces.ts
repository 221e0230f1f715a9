import type { Edge, ServiceDefinition } from '@fairlead/chassis'
import { COLLECTOR_METRICS_PORT, JAEGER, type Manifest, requestsTo } from '@fairlead/infra/tools'
import type { Taken } from '../../journey/take-step.ts'
import { pause } from '../../pause.ts'
import { toRun } from '../../remedy.ts'
import { type Check, Fault, NotHere } from '../check.ts'
import { AnswerError, type Context, until } from '../context.ts'
import type { Trip } from './journey.ts'
import { askPrometheus } from './metrics.ts'

/** A trace as Jaeger's query API has it, as far as it is read here. */
export interface Trace {
  spans: {
    spanID: string
    operationName: string
    processID: string
    references: { refType: string; traceID: string; spanID: string }[]
    tags: { key: string; value: unknown }[]
  }[]
  processes: Record<string, { serviceName: string }>
}

/** How an edge is called in what is said of traces. */
export const titleOfEdge = (caller: string, { to, protocol }: { to: { name: string | undefined }; protocol?: Edge['protocol'] }): string =>
  `${caller} -> ${to.name}${protocol === 'grpc' ? ' by gRPC' : ''}`

/** Which service a trace shows to have called which, as `order -> user` or `order -> user by gRPC`, sorted. */
export function edgesOf({ spans, processes }: Trace): string[] {
  const serviceOf = (processID: string) => processes[processID]?.serviceName
  const byId = new Map(spans.map(span => [span.spanID, span]))
  const edges = spans.flatMap(({ processID, references, tags }) => {
    const parent = byId.get(references.find(({ refType }) => refType === 'CHILD_OF')?.spanID ?? '')
    const caller = parent && serviceOf(parent.processID)
    const byGrpc = tags.some(({ key, value }) => key === 'rpc.system.name' && value === 'grpc')
    return caller && caller !== serviceOf(processID)
      ? [titleOfEdge(caller, { to: { name: serviceOf(processID) }, protocol: byGrpc ? 'grpc' : 'http' })]
      : []
  })
  return [...new Set(edges)].sort()
}

/** The tail sampler decides once no span can come any more, and spans wait in two batches. */
const TRACE_MS = 30_000
/** Two scrapes. */
const EXEMPLAR_MS = 35_000

/** Whether traces arrive, and lead on from metrics. */
export const traceChecks = (context: Context, trip: Trip): Check[] => [
  ...context.system.services.map(({ name }): Check => ({ name: `collector of ${name}`, run: signal => collectorSends(context, name, signal) })),
  { name: 'trace', ofJourney: true, run: signal => tracesAreWhole(context, trip, signal) },
  { name: 'exemplar', run: signal => exemplarLeadsToTrace(context, signal) },
]

const askJaeger = ({ ask, settings }: Context, path: string): Promise<unknown> =>
  ask({ name: 'jaeger', namespace: settings.TRACING_NAMESPACE, port: JAEGER.query }, path)

/** The trace, or nothing while Jaeger does not have it. */
async function findTrace(context: Context, traceId: string): Promise<Trace | undefined> {
  const answer = await askJaeger(context, `/api/traces/${traceId}`).catch(error => {
    if (error instanceof AnswerError && error.status === 404) return undefined
    throw error
  })
  const [trace] = (answer as { data?: Trace[] } | undefined)?.data ?? []
  return trace && trace.spans.length > 0 ? trace : undefined
}

const LINKED_WITHIN_MS = 300_000
const MAX_LINKED = 100

/** What a service's outbox delivered because of a request: traces of their own, which link to the request's. */
async function findLinked(context: Context, { name, calls }: ServiceDefinition, traceId: string): Promise<Trace[]> {
  const operations = calls.flatMap(({ to, commands = [] }) => commands.map(command => `outbox ${to.name}.${command}`))
  const now = Date.now()
  const during = { service: name, start: `${(now - LINKED_WITHIN_MS) * 1_000}`, end: `${now * 1_000}`, limit: `${MAX_LINKED}` }
  const answers = await Promise.all(
    operations.map(
      operation => askJaeger(context, `/api/traces?${new URLSearchParams({ ...during, operation })}`) as Promise<{ data?: Trace[] | null }>,
    ),
  )
  return answers
    .flatMap(({ data }) => data ?? [])
    .filter(({ spans }) =>
      spans.some(({ references }) => references.some(({ refType, traceID }) => refType === 'FOLLOWS_FROM' && traceID === traceId)),
    )
}

const wayOfTraces = ({ kind, metadata: { name } }: Manifest): boolean =>
  (['ConfigMap', 'Deployment', 'Service'].includes(kind) && name === 'jaeger') || kind === 'NetworkPolicy'

/** The same for what one service sends: its collector is configured in its pods' template. */
const wayFrom =
  (service: string) =>
  (manifest: Manifest): boolean =>
    wayOfTraces(manifest) || (manifest.kind === 'Deployment' && manifest.metadata.name === service)

/** Looks at the requests that the journey says to cross into other services; without any, at the first. */
async function tracesAreWhole(context: Context, trip: Trip, signal: AbortSignal): Promise<string> {
  // Fails at once where there is no Jaeger to look into.
  await askJaeger(context, '/api/services')
  const taken = await trip.take(signal).catch(error => {
    if (error instanceof NotHere) throw error
    throw new Fault(`no journey was taken, whose traces would be looked for: ${(error as Error).message}`, {
      advice: 'the check journey comes first',
    })
  })
  const crossing = taken.filter(({ step }) => step.crosses.length > 0)
  const watched = crossing.length > 0 ? crossing : taken.slice(0, 1)
  return (await Promise.all(watched.map(one => traceIsWhole(context, one, signal)))).join('; ')
}

async function traceIsWhole(context: Context, { step, title, traceId }: Taken, signal: AbortSignal): Promise<string> {
  const { settings, blame, kubectl } = context
  const entry = step.service.name
  const edgeTo = (callee: string): Pick<Edge, 'to' | 'protocol'> | undefined => step.service.calls.find(({ to }) => to.name === callee)
  const wanted = [
    ...step.crosses.map(callee => titleOfEdge(entry, edgeTo(callee) ?? { to: { name: callee } })),
    ...(settings.PLATFORM === 'bundled' ? [`traefik -> ${entry}`] : []),
  ]
  const look = async () => {
    const trace = await findTrace(context, traceId)
    const direct = trace ? edgesOf(trace) : []
    const isWhole = wanted.every(edge => direct.includes(edge))
    const linked = trace && !isWhole ? await findLinked(context, step.service, traceId) : []
    const seen = [...new Set([...direct, ...linked.flatMap(edgesOf)])].sort()
    return { trace, seen, missing: wanted.filter(edge => !seen.includes(edge)) }
  }
  const isWhole = ({ trace, missing }: Awaited<ReturnType<typeof look>>) => trace !== undefined && missing.length === 0
  const { trace, seen, missing } = await until(look, isWhole, TRACE_MS, signal)
  if (trace && missing.length === 0) return `${title}, ${trace.spans.length} spans: ${seen.join(', ')}`
  throw await blame(
    trace ? `the trace ${traceId} of ${title} lacks ${missing.join(', ')}` : `the trace ${traceId} of ${title} has not come to Jaeger`,
    wayOfTraces,
    toRun(kubectl(`-n ${settings.NAMESPACE} logs -l app.kubernetes.io/name=${entry} -c collector`)),
  )
}

const COLLECTOR_MS = 5_000
/** Counters of spans that are lost on their way in, in the queue, and on their way out. */
const LOST = ['otelcol_receiver_refused_spans_total', 'otelcol_exporter_enqueue_failed_spans_total', 'otelcol_exporter_send_failed_spans_total']

interface Reading {
  queued: number
  lost: number
  sent: number
}

/** The collector's own figures, twice: what it lost long ago is no trouble now, and one batch in its queue is none either. */
async function collectorSends(context: Context, name: string, signal: AbortSignal): Promise<string> {
  const { pods, settings, blame, kubectl, fairlead } = context
  const ready = await pods(name, settings.NAMESPACE)
  if (ready.length === 0) throw new Fault(`${name} has no ready pod`, toRun(fairlead('status')))
  const read = () => Promise.all(ready.map(({ metadata }) => readingOf(context, name, metadata.name)))
  const before = await read()
  await pause(COLLECTOR_MS, signal)
  const after = await read()
  for (const [index, { metadata }] of ready.entries()) {
    const [first, second] = [before[index] as Reading, after[index] as Reading]
    const lost = second.lost - first.lost
    if (lost <= 0 && (second.queued < first.queued || first.queued === 0)) continue
    throw await blame(
      `the collector of ${metadata.name} does not get rid of its spans (${second.queued} batches wait, ${lost} spans were lost in ${COLLECTOR_MS / 1_000} s)`,
      wayFrom(name),
      toRun(kubectl(`-n ${settings.NAMESPACE} logs ${metadata.name} -c collector`)),
    )
  }
  return `${after.reduce((sum, { sent }) => sum + sent, 0)} spans sent on by ${ready.length} pods`
}

async function readingOf({ cluster, settings, blame, kubectl }: Context, name: string, pod: string): Promise<Reading> {
  const forwarded = await cluster.forward(settings.NAMESPACE, pod, COLLECTOR_METRICS_PORT)
  try {
    const answer = await fetch(`${forwarded.url}/metrics`, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined)
    if (!answer)
      throw await blame(`the collector of ${pod} does not answer`, wayFrom(name), toRun(kubectl(`-n ${settings.NAMESPACE} logs ${pod} -c collector`)))
    const text = await answer.text()
    const sum = (metric: string) =>
      [...text.matchAll(new RegExp(`^${metric}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].reduce((total, [, value]) => total + Number(value), 0)
    return {
      queued: sum('otelcol_exporter_queue_size'),
      lost: LOST.reduce((total, metric) => total + sum(metric), 0),
      sent: sum('otelcol_exporter_sent_spans_total'),
    }
  } finally {
    await forwarded.close()
  }
}

interface Exemplars {
  exemplars: { labels: { trace_id?: string }; timestamp: number }[]
}

async function exemplarLeadsToTrace(context: Context, signal: AbortSignal): Promise<string> {
  const { settings, system, blame, kubectl } = context
  await askJaeger(context, '/api/services')
  const look = async () => {
    const now = Date.now() / 1_000
    const query = new URLSearchParams({
      query: requestsTo(system.services, `namespace="${settings.NAMESPACE}"`, selector => selector).durations,
      start: String(now - 300),
      end: String(now + 60),
    })
    const series = await askPrometheus<Exemplars[]>(context, `/api/v1/query_exemplars?${query}`)
    const newest = series
      .flatMap(({ exemplars }) => exemplars)
      .sort((a, b) => b.timestamp - a.timestamp)
      .slice(0, 5)
    const ids = newest.flatMap(({ labels }) => labels.trace_id ?? [])
    const traces = await Promise.all(ids.map(id => findTrace(context, id)))
    return { ids, found: ids.find((_, index) => traces[index]) }
  }
  const { ids, found } = await until(look, answer => answer.found !== undefined, EXEMPLAR_MS, signal)
  if (found) return `${found} leads to its trace`
  if (ids.length > 0)
    throw await blame(
      `exemplars name traces that Jaeger does not have, e.g. ${ids[0]}`,
      wayOfTraces,
      toRun(kubectl(`-n ${settings.TRACING_NAMESPACE} logs -l app.kubernetes.io/name=jaeger`)),
    )
  throw await blame(
    'Prometheus has no exemplar of any request',
    ({ kind }) => ['Prometheus', 'ServiceMonitor', 'Service', 'NetworkPolicy'].includes(kind),
    { advice: 'Prometheus needs the feature exemplar-storage' },
  )
}
