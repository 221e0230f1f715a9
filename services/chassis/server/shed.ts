import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Middleware } from 'koa'
import { overloaded, tooManyRequests } from '../contract/failure.ts'
import { MAX_LOOP_DELAY_MS } from '../contract/limits.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createPlaces } from './places.ts'

export interface ShedLimits {
  /** Requests in flight above which new ones are refused. */
  maxConcurrency: number
  /** The same of one source, which would otherwise keep all others out. @default half of maxConcurrency */
  maxPerSource?: number
  /** Event-loop delay above which new ones are refused, in milliseconds. @default 500 */
  maxDelayMs?: number
}

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

/** Answers 503 `overloaded` at once rather than late, since the caller can still go elsewhere; 429 to a source that has its share. */
export function shed(
  { maxConcurrency, maxPerSource = Math.ceil(maxConcurrency / 2), maxDelayMs = MAX_LOOP_DELAY_MS }: ShedLimits,
  delay: LoopDelay,
  metrics: Metrics,
): Middleware {
  const refused = metrics.counter(
    'http_server_shed_requests_total',
    'Requests refused with 503 overloaded, or 429 by the share of their source',
    ['reason'],
    [{ reason: 'concurrency' }, { reason: 'event-loop' }, { reason: 'source' }],
  )
  const places = createPlaces({ total: maxConcurrency, perSource: maxPerSource })
  const refuse = (reason: string, problem: Error) => {
    refused.inc({ reason })
    return problem
  }
  return async (ctx, next) => {
    if (delay.currentMs() > maxDelayMs) throw refuse('event-loop', overloaded())
    const source: string = ctx.state.address()
    const full = places.take(source)
    if (full === 'total') throw refuse('concurrency', overloaded())
    if (full === 'source') throw refuse('source', tooManyRequests('Too many requests from your address are under way'))
    try {
      await next()
    } finally {
      places.give(source)
    }
  }
}
