import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import pino from 'pino'
import { createDeadline } from '../../services/chassis/contract/deadline.ts'
import type { Scope } from '../../services/chassis/contract/scope.ts'
import { createLog } from '../../services/chassis/telemetry/log.ts'
import { createMetrics } from '../../services/chassis/telemetry/metrics.ts'
import type { Runtime } from '../../services/chassis/telemetry/runtime.ts'
import { createTracing } from '../../services/chassis/telemetry/tracing.ts'

export const silentLog = pino({ level: 'silent' })

export interface TestRuntime extends Runtime {
  /** Ended spans. */
  spans: InMemorySpanExporter
  /** Log lines so far, parsed. */
  lines: Record<string, unknown>[]
  /** A scope of its own trace with a deadline. @default 5000 ms */
  scope(budgetMs?: number): Scope
  /** The value of one series, e.g. `orders_total{state="confirmed"}`; 0 when there is none. */
  metric(series: string): Promise<number>
}

/** Real log, metrics and tracing, kept in memory. */
export function testRuntime(service = 'test'): TestRuntime {
  const lines: Record<string, unknown>[] = []
  const spans = new InMemorySpanExporter()
  const log = createLog({ service, level: 'debug', destination: { write: line => void lines.push(JSON.parse(line)) } })
  const metrics = createMetrics()
  const processor = new SimpleSpanProcessor({ exporter: spans })
  const { tracer } = createTracing({ service, processor: { onEnd: span => processor.onEnd(span as never), shutdown: () => processor.shutdown() } })
  return {
    log,
    metrics,
    tracer,
    spans,
    lines,
    scope: (budgetMs = 5_000) => ({ deadline: createDeadline(budgetMs), span: tracer.startSpan('test'), log }),
    metric: async series => {
      const { text } = await metrics.expose(undefined)
      const line = text.split('\n').find(candidate => candidate.startsWith(`${series} `))
      return line ? Number(line.slice(series.length + 1).split(' ', 1)[0]) : 0
    },
  }
}
