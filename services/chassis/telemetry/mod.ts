/** Log, metrics and traces of a service. */
export type { Metrics } from './metrics.ts'
export type { Runtime } from './runtime.ts'
export { linkedSpan } from './tracing.ts'
