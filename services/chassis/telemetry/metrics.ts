import type { Span } from '@opentelemetry/api'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { isKept, KEPT_SHARE } from '../contract/sampling.ts'

/** OpenTelemetry's advice for `http.server.request.duration`, in seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

export interface MetricsOptions {
  /** Becomes a bucket, so that the SLO is counted exactly. */
  sloThresholdMs?: number
  /** Share of ordinary traces that are kept; only kept ones become exemplars. @default KEPT_SHARE */
  keptShare?: number
}

export interface Metrics {
  registry: Registry
  /**
   * A counter, the same one for whoever asks again: each client of a service counts under one name. `known` label values begin at 0: a rate
   * needs the first step, and an absent series looks like a broken one.
   */
  counter(name: string, help: string, labelNames?: string[], known?: Record<string, string>[]): Counter
  /** Says since when a secret is in use, for its age. @param since Unix time, in seconds */
  secretSince(secret: string, since: () => number): unknown
  /** Says at each scrape whether this pod takes traffic: a target that answers need not be ready. */
  readiness(isReady: () => Promise<boolean>): void
  /** A gauge, the same one for whoever asks again. */
  gauge(name: string, help: string, labelNames?: string[]): Gauge
  /** A gauge whose value is read at each scrape; of one that there is already, from now on by this. */
  gaugeOf(name: string, help: string, read: () => number): void
  serverDuration: Histogram
  serverActive: Gauge
  clientDuration: Histogram
  /** The same of gRPC; made when they are first asked for, so that a service without it shows none. */
  rpc(): RpcMetrics
  /** Text for a scrape in the format that the Accept header asks for, and its content type. */
  expose(accept: string | undefined): Promise<{ contentType: string; text: string }>
  /** The trace of this span, where it is recorded and will be kept. */
  exemplar(span: Span, seconds: number, failed: boolean): { trace_id: string } | undefined
}

export interface RpcMetrics {
  serverDuration: Histogram
  serverActive: Gauge
  clientDuration: Histogram
}

/** @returns who says since when each secret is in use, by its name */
function exposeAges(registry: Registry): Map<string, () => number> {
  const secrets = new Map<string, () => number>()
  new Gauge({
    name: 'secret_since_timestamp_seconds',
    help: 'Unix time since which a secret is in use',
    labelNames: ['secret'],
    registers: [registry],
    collect() {
      for (const [secret, since] of secrets) this.set({ secret }, since())
    },
  })
  return secrets
}

/** prom-client keeps one name a metric and cuts `_total` off for OpenMetrics, so names are put back before each scrape, one at a time. */
function createScrape(registry: Registry, counters: ReadonlyMap<Counter, string>): Metrics['expose'] {
  let last: Promise<unknown> = Promise.resolve()
  const render = async (openMetrics: boolean) => {
    const contentType = openMetrics ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE
    for (const [counter, name] of counters) (counter as unknown as { name: string }).name = name
    registry.setContentType(contentType as never)
    return { contentType, text: await registry.metrics() }
  }
  return accept => {
    const scrape = last.then(() => render(/application\/openmetrics-text/.test(accept ?? '')))
    last = scrape.catch(() => {})
    return scrape
  }
}

/** What is measured of calls over gRPC. */
function rpcMetrics(registry: Registry, histogram: (name: string, help: string, labelNames: string[]) => Histogram): RpcMetrics {
  return {
    serverDuration: histogram('rpc_server_call_duration_seconds', 'Time from the call to its status', [
      'rpc_system_name',
      'rpc_method',
      'rpc_response_status_code',
      'error_type',
    ]),
    serverActive: new Gauge({ name: 'rpc_server_active_calls', help: 'Calls in flight', registers: [registry] }),
    clientDuration: histogram('rpc_client_call_duration_seconds', 'Time of one attempt to call another service', [
      'peer_service',
      'rpc_system_name',
      'rpc_method',
      'rpc_response_status_code',
      'error_type',
    ]),
  }
}

export function createMetrics({ sloThresholdMs, keptShare = KEPT_SHARE }: MetricsOptions = {}): Metrics {
  const registry = new Registry()
  // Histograms with exemplars can only be made while the registry speaks OpenMetrics.
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  collectDefaultMetrics({ register: registry })
  const counters = new Map<Counter, string>()
  for (const metric of registry.getMetricsAsArray()) if (metric instanceof Counter) counters.set(metric, metric.name)
  const slowSeconds = (sloThresholdMs ?? 1_000) / 1_000
  const buckets = [...new Set([...BUCKETS, slowSeconds])].sort((a, b) => a - b)
  const histogram = (name: string, help: string, labelNames: string[]) =>
    new Histogram({ name, help, labelNames, buckets, registers: [registry], enableExemplars: true })

  const secrets = exposeAges(registry)
  const expose = createScrape(registry, counters)
  let rpc: RpcMetrics | undefined

  return {
    registry,
    rpc: () => {
      rpc ??= rpcMetrics(registry, histogram)
      return rpc
    },
    counter(name, help, labelNames = [], known = []) {
      const counter = (registry.getSingleMetric(name) as Counter | undefined) ?? new Counter({ name, help, labelNames, registers: [registry] })
      counters.set(counter, name)
      for (const labels of known) counter.inc(labels, 0)
      return counter
    },
    secretSince: (secret, since) => secrets.set(secret, since),
    readiness(isReady) {
      new Gauge({
        name: 'service_ready',
        help: '1 while /readyz answers 200, else 0',
        registers: [registry],
        async collect() {
          this.set((await isReady()) ? 1 : 0)
        },
      })
    },
    gauge: (name, help, labelNames = []) =>
      (registry.getSingleMetric(name) as Gauge | undefined) ?? new Gauge({ name, help, labelNames, registers: [registry] }),
    gaugeOf: (name, help, read) => {
      registry.removeSingleMetric(name)
      new Gauge({
        name,
        help,
        registers: [registry],
        collect(this: Gauge) {
          this.set(read())
        },
      })
    },
    serverDuration: histogram('http_server_request_duration_seconds', 'Time from the request head to the answer', [
      'http_request_method',
      'http_route',
      'http_response_status_code',
    ]),
    serverActive: new Gauge({ name: 'http_server_active_requests', help: 'Requests in flight', registers: [registry] }),
    clientDuration: histogram('http_client_request_duration_seconds', 'Time of one attempt to call another service', [
      'peer_service',
      'http_request_method',
      'http_route',
      'http_response_status_code',
      'error_type',
    ]),
    expose,
    exemplar: (span, seconds, failed) => {
      const { traceId } = span.spanContext()
      return span.isRecording() && (failed || seconds > slowSeconds || isKept(traceId, keptShare)) ? { trace_id: traceId } : undefined
    },
  }
}
