import { createLog } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { createTracing } from '../telemetry/tracing.ts'

/**
 * Real log, metrics and tracing that nothing leaves, but for what went wrong: that is on standard error.
 * @param service its name, in the log
 */
export function quietRuntime(service: string): Runtime {
  const log = createLog({ service, level: 'error', destination: { write: line => void process.stderr.write(line) } })
  return { log, metrics: createMetrics(), tracer: createTracing({ service }).tracer }
}
