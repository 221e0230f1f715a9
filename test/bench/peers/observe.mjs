import { trace } from '@opentelemetry/api'
import { pino } from 'pino'
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client'

const log = pino(
  { base: { service: process.env.SERVICE }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: label => ({ level: label }) } },
  pino.destination({ sync: false }),
)

const registry = new Registry()
collectDefaultMetrics({ register: registry })
const duration = new Histogram({
  name: 'http_server_request_duration_seconds',
  help: 'Time from the request head to the answer',
  labelNames: ['http_request_method', 'http_route', 'http_response_status_code'],
  buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  registers: [registry],
})

/** The order service's access log line and histogram for one request. */
export function observe({ method, route, status, bytes, startedAt }) {
  const ms = performance.now() - startedAt
  duration.observe({ http_request_method: method, http_route: route, http_response_status_code: status }, ms / 1_000)
  const trace_id = trace.getActiveSpan()?.spanContext().traceId
  log.info({ trace_id, method, route, status, duration_ms: Math.round(ms * 100) / 100, bytes }, 'request')
}
