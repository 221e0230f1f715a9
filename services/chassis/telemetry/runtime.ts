import type { Tracer } from '@opentelemetry/api'
import type { Logger } from 'pino'
import type { Metrics } from './metrics.ts'

/** What every service's app is given by its main. */
export interface Runtime {
  tracer: Tracer
  log: Logger
  metrics: Metrics
}
