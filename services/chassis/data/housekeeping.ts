import type { Tracer } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { createDeadline } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import { linkedSpan } from '../telemetry/tracing.ts'

export interface HousekeepingOptions {
  tracer: Tracer
  log: Logger
  /** What to do, by name, e.g. deleting rows that have outlived their use. Each must be safe to run in several replicas at once. */
  jobs: Record<string, (scope: Scope) => Promise<unknown>>
  /** @default 600000 (10 minutes) */
  intervalMs?: number
}

/** Runs jobs at intervals. A failed job is logged and runs again in the next round. */
export function startHousekeeping({ tracer, log, jobs, intervalMs = 600_000 }: HousekeepingOptions): { close(): Promise<void> } {
  const round = async () => {
    for (const [name, job] of Object.entries(jobs)) {
      const deadline = createDeadline(30_000)
      const span = linkedSpan(tracer, `housekeeping ${name}`, undefined)
      try {
        await job({ deadline, span, log })
      } catch (error) {
        log.warn({ err: error, job: name }, 'housekeeping failed')
      } finally {
        deadline.clear()
        span.end()
      }
    }
  }
  // Jittered, so that replicas do not meet.
  const timer = setInterval(round, intervalMs * (0.8 + Math.random() * 0.4)).unref()
  return { close: async () => clearInterval(timer) }
}
