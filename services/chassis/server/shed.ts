import type { Middleware } from 'koa'
import type { Counter } from 'prom-client'
import { overloaded, tooManyRequests } from '../contract/failure.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createPlaces } from './places.ts'

export interface ShedLimits {
  /** Requests in flight above which new ones are refused. */
  maxConcurrency: number
  /** The same of one source, which would otherwise keep all others out. @default half of maxConcurrency */
  maxPerSource?: number
}

/**
 * Counts what is refused for there being too much: `queue` waited too long to be begun, and its client hung up before in `gone`; `waiting-body` would have
 * waited with a long body, beside too many of them; `concurrency` and `source` found no place.
 */
export const countShed = (metrics: Metrics): Counter =>
  metrics.counter(
    'http_server_shed_requests_total',
    'Requests refused with 503 overloaded, or 429 by the share of their source',
    ['reason'],
    ['queue', 'gone', 'waiting-body', 'concurrency', 'source'].map(reason => ({ reason })),
  )

/** Answers 503 `overloaded` at once rather than late, since the caller can still go elsewhere; 429 to a source that has its share. */
export function shed({ maxConcurrency, maxPerSource = Math.ceil(maxConcurrency / 2) }: ShedLimits, metrics: Metrics): Middleware {
  const refused = countShed(metrics)
  const places = createPlaces({ total: maxConcurrency, perSource: maxPerSource })
  const refuse = (reason: string, problem: Error) => {
    refused.inc({ reason })
    return problem
  }
  return async (ctx, next) => {
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
