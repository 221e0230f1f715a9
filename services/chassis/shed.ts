import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Middleware } from 'koa'
import type { Metrics } from './metrics.ts'
import { ProblemError } from './problem.ts'

/** Event-loop delay above which requests are refused, by default. */
export const MAX_LOOP_DELAY_MS = 500

export interface ShedLimits {
  /** Requests in flight above which new ones are refused. */
  maxConcurrency: number
  /** Event-loop delay above which new ones are refused, in milliseconds. @default 500 */
  maxDelayMs?: number
}

export const overloaded = () =>
  new ProblemError(503, 'overloaded', 'Too much work is under way; try again shortly', { headers: { 'retry-after': '1' } })

export interface LoopDelay {
  /** Mean delay of the last half second, in milliseconds. */
  currentMs(): number
  close(): void
}

/** Watches how late timers fire, the sign that the one thread has more to do than it can. */
export function watchLoopDelay(resolutionMs = 20): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs })
  histogram.enable()
  let currentMs = 0
  const timer = setInterval(() => {
    currentMs = histogram.count > 0 ? Math.max(0, histogram.mean / 1e6 - resolutionMs) : 0
    histogram.reset()
  }, 500).unref()
  return {
    currentMs: () => currentMs,
    close: () => {
      clearInterval(timer)
      histogram.disable()
    },
  }
}

/** Answers 503 `overloaded` at once rather than late: the caller can still go elsewhere. */
export function shed({ maxConcurrency, maxDelayMs = MAX_LOOP_DELAY_MS }: ShedLimits, delay: LoopDelay, metrics: Metrics): Middleware {
  const refused = metrics.counter(
    'http_server_shed_requests_total',
    'Requests refused with 503 overloaded',
    ['reason'],
    [{ reason: 'concurrency' }, { reason: 'event-loop' }],
  )
  let active = 0
  return async (_ctx, next) => {
    const reason = active >= maxConcurrency ? 'concurrency' : delay.currentMs() > maxDelayMs ? 'event-loop' : undefined
    if (reason) {
      refused.inc({ reason })
      throw overloaded()
    }
    active++
    try {
      await next()
    } finally {
      active--
    }
  }
}
