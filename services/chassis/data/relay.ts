import type { Span, Tracer } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { backoffMs } from '../contract/backoff.ts'
import { createDeadline, unlessAborted } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { failSpan, linkedSpan, unrecordedSpan } from '../telemetry/tracing.ts'
import { type Alarm, createAlarm } from './alarm.ts'
import type { Database } from './database.ts'
import { backlog, CHANNEL, claim, type Message, type NotDelivered, nameOf, putBack } from './messages.ts'

/** What became of an attempt. `done`: the handler has removed the message in the transaction that settles it. */
export type Outcome = { kind: 'done' } | NotDelivered

export interface RelayOptions {
  database: Database
  tracer: Tracer
  log: Logger
  metrics: Metrics
  handle: (message: Message, scope: Scope) => Promise<Outcome>
  /** @default 500 */
  pollMs?: number
  /** Time for one attempt; the lease is twice as long. @default 3000 */
  attemptMs?: number
  /** Whether NOTIFY wakes it, which takes a connection of its own. @default true */
  listens?: boolean
  /** Messages claimed at once. @default 20 */
  batch?: number
  /** Longest wait between attempts. @default 15000 */
  maxBackoffMs?: number
}

export interface Relay {
  /** Makes it look for messages now rather than at its next poll. */
  wake(): void
  /** Stops claiming and waits for attempts under way, which are bounded by `attemptMs`. */
  close(): Promise<void>
}

/**
 * Delivers messages that their writers did not: short claim with a lease, then the attempt without any lock, then completion by
 * the handler. Of a subject only the first message is ever claimed, parked or not; the rest waits for it. Any number of relays may run. NOTIFY makes it fast; the poll alone suffices.
 */
export function startRelay({ pollMs = 500, attemptMs = 3_000, listens = true, batch = 20, maxBackoffMs = 15_000, ...options }: RelayOptions): Relay {
  const { database, log } = options
  const inSpan = spansOf(log, attemptMs)
  const next = createRound(options, inSpan, { leaseMs: attemptMs * 2, batch })
  const count = createCount(options, inSpan)
  const attempt = createAttempt(options, inSpan, maxBackoffMs)
  const alarm = createAlarm()
  const closing = createAlarm()
  let closed = false

  const wait = (bell: Alarm) => bell.wait(pollMs * (0.5 + Math.random()))
  const deliver = async () => {
    while (!closed) {
      const messages = await next()
      await Promise.all(messages.map(attempt))
      if (messages.length < batch && !closed) await wait(alarm)
    }
  }
  const tell = async () => {
    while (!closed) {
      await count()
      if (!closed) await wait(closing)
    }
  }
  const listener = listens ? database.listen(CHANNEL, alarm.ring) : undefined
  const running = [deliver(), tell()]
  return {
    wake: alarm.ring,
    close: async () => {
      closed = true
      alarm.ring()
      closing.ring()
      await Promise.all([...running, listener?.close()])
    },
  }
}

type InSpan = <T>(span: Span, work: (scope: Scope) => Promise<T>) => Promise<T>

/** Work in a span of its own, with a deadline of its own. */
const spansOf =
  (log: Logger, budgetMs: number): InSpan =>
  async (span, work) => {
    const deadline = createDeadline(budgetMs)
    try {
      return await work({ deadline, span, log: log.child({ trace_id: span.spanContext().traceId }) })
    } catch (error) {
      failSpan(span, error)
      throw error
    } finally {
      deadline.clear()
      span.end()
    }
  }

/** Claims what is due. Never rejects. */
const createRound =
  ({ database, log }: RelayOptions, inSpan: InSpan, { leaseMs, batch }: { leaseMs: number; batch: number }) =>
  () =>
    inSpan(unrecordedSpan(), scope => claim(database, scope, leaseMs, batch)).catch((error): Message[] => {
      log.warn({ err: error }, 'outbox cannot be read')
      return []
    })

/** Tells the metrics how much is left: that reads all of it, which takes long when there is much, and keeps none of it waiting. Never rejects. */
function createCount({ database, log, metrics }: RelayOptions, inSpan: InSpan) {
  const pending = metrics.gauge('outbox_pending', 'Messages not delivered yet; the same rows are seen by every replica, so take the max')
  const parked = metrics.gauge('outbox_parked', 'Parked messages, which can never be delivered')
  const blocked = metrics.gauge(
    'outbox_blocked',
    'Messages, among the pending, that wait until the parked one of their subject is retried or dropped',
  )
  const oldest = metrics.gauge('outbox_oldest_age_seconds', 'Age of the oldest message that is neither parked nor blocked')
  return () =>
    inSpan(unrecordedSpan(), async scope => {
      const left = await backlog(database, scope)
      pending.set(left.pending)
      parked.set(left.parked)
      blocked.set(left.blocked)
      oldest.set(left.oldest)
    }).catch((error: unknown) => log.warn({ err: error }, 'outbox cannot be counted'))
}

/** Attempts one message, and puts it back when it was not delivered. Never rejects. */
function createAttempt({ database, tracer, log, metrics, handle }: RelayOptions, inSpan: InSpan, maxBackoffMs: number) {
  const attempts = metrics.counter('outbox_attempts_total', 'Deliveries tried by the relay', ['kind', 'outcome'])

  const outcomeOf = async (message: Message, scope: Scope): Promise<Outcome> => {
    try {
      return await unlessAborted(scope.deadline.signal, handle(message, scope))
    } catch (error) {
      scope.log.warn({ err: error, ...nameOf(message) }, 'outbox attempt failed')
      return { kind: 'retry', reason: (error as { code?: string }).code ?? (error as Error).name }
    }
  }

  return (message: Message): Promise<void> =>
    inSpan(linkedSpan(tracer, `outbox ${message.kind}`, message.traceparent), async scope => {
      const outcome = await outcomeOf(message, scope)
      attempts.inc({ kind: message.kind, outcome: outcome.kind })
      if (outcome.kind === 'done') return
      if (outcome.kind === 'park') scope.log.error({ ...nameOf(message), reason: outcome.reason }, 'outbox message parked')
      // At attempt n the wait is at most base * 2^n; the deadline of the attempt may be spent, so this has its own.
      const waitMs = backoffMs(message.attempts, { baseMs: 100, capMs: maxBackoffMs })
      await inSpan(linkedSpan(tracer, 'outbox put back', message.traceparent), own => putBack(database, own, message, outcome, waitMs))
    }).catch(error => log.warn({ err: error, ...nameOf(message) }, 'outbox message cannot be put back; its lease runs out by itself'))
}
