import type { Logger } from 'pino'
import { overloaded } from '../contract/failure.ts'
import { PROBLEM_CONTENT_TYPE } from '../contract/problem-document.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { labelsOf } from './convention.ts'
import { problemOf } from './problem.ts'
import type { Waiting } from './queue.ts'
import { SECURITY_HEADERS } from './security-headers.ts'
import { countShed } from './shed.ts'

const LOG_EVERY_MS = 100

export interface Refusal {
  /** Answers 503 `overloaded`. @param reason as the counter of what is shed has it */
  refuse(refused: Waiting, now: number, reason: 'queue' | 'waiting-body'): void
  /** Records a request whose client has hung up while it waited. @param isLate it would have been refused */
  gone(waiting: Waiting, now: number, isLate: boolean): void
}

/** The one answer of requests that are not begun: each is counted, some are logged. */
export function createRefusal({ metrics, log }: { metrics: Metrics; log: Logger }): Refusal {
  const counted = countShed(metrics)
  const problem = problemOf(overloaded())
  const body = Buffer.from(JSON.stringify(problem))
  const headers = Object.entries({
    ...SECURITY_HEADERS,
    ...problem.headers,
    'content-type': PROBLEM_CONTENT_TYPE,
    'content-length': String(body.length),
  }).flat()
  let loggedAt = Number.NEGATIVE_INFINITY
  let unlogged = 0

  const measure = ({ req, match, since }: Waiting, now: number, status: number) => {
    const labels = labelsOf(req.method ?? '', match.operation?.path, status)
    metrics.serverDuration.observe({ labels, value: (now - since) / 1_000, exemplarLabels: {} } as never)
  }

  const logSome = ({ req: { method }, match, since }: Waiting, now: number, bytes: number) => {
    unlogged++
    if (now - loggedAt < LOG_EVERY_MS) return
    const line = { method, route: match.operation?.path, status: 503, bytes, code: 'overloaded', refused: unlogged }
    log.error({ ...line, duration_ms: Math.round(now - since) }, 'request')
    loggedAt = now
    unlogged = 0
  }

  return {
    refuse: (refused, now, reason) => {
      const { req, res } = refused
      // The rest of it would be read, or be taken for the next request.
      const unread = req.complete ? [] : ['connection', 'close']
      res.writeHead(503, [...headers, ...unread]).end(body)
      counted.inc({ reason })
      measure(refused, now, 503)
      logSome(refused, now, body.length)
    },
    gone: (waiting, now, isLate) => {
      measure(waiting, now, isLate ? 503 : 499)
      if (!isLate) return
      counted.inc({ reason: 'gone' })
      logSome(waiting, now, 0)
    },
  }
}
