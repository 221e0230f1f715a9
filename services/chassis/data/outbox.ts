import type { Span, Tracer } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { backoffMs } from '../contract/backoff.ts'
import { aborted, createDeadline } from '../contract/deadline.ts'
import type { Scope } from '../contract/scope.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { failSpan, linkedSpan, traceHeaders, unrecordedSpan } from '../telemetry/tracing.ts'
import { type Database, type Queries, statement } from './database.ts'

/** A command that must reach another service at least once. It is written in the transaction that decides it. */
export interface Message {
  id: string
  kind: string
  /** What it is about, e.g. the order's id; one message a kind and subject. */
  subjectId: string
  payload: Record<string, unknown>
  attempts: number
  traceparent?: string
}

/**
 * What became of an attempt. `done`: the handler has removed the row in its own transaction. `park`: it can never succeed; a
 * person must look.
 */
export type Outcome = { kind: 'done' } | { kind: 'retry'; reason: string } | { kind: 'park'; reason: string }

const CHANNEL = 'outbox'
const COLUMNS = 'id, kind, subject_id as "subjectId", payload, attempts, traceparent'

const INSERT = statement<Message>(
  'outbox-insert',
  `insert into outbox (id, kind, subject_id, payload, traceparent, due_at)
   values ($1, $2, $3, $4, $5, now() + $6 * interval '1 millisecond') returning ${COLUMNS}`,
)
const DELETE = statement('outbox-delete', 'delete from outbox where subject_id = $1 and kind = $2')
const CLAIM = statement<Message>(
  'outbox-claim',
  `update outbox set attempts = attempts + 1, due_at = now() + $1 * interval '1 millisecond'
   where id in (select id from outbox where parked_at is null and due_at <= now() order by due_at limit $2 for update skip locked)
   returning ${COLUMNS}`,
)
const POSTPONE = statement(
  'outbox-postpone',
  `update outbox set due_at = now() + $2 * interval '1 millisecond', last_error = $3 where id = $1 and parked_at is null`,
)
const PARK = statement('outbox-park', 'update outbox set parked_at = now(), last_error = $2 where id = $1')
const NOTIFY = statement('outbox-notify', "select pg_notify('outbox', '')")
const STATS = statement<{ pending: number; parked: number; oldest: number }>(
  'outbox-stats',
  `select count(*) filter (where parked_at is null) as pending, count(*) filter (where parked_at is not null) as parked,
     coalesce(extract(epoch from now() - min(created_at) filter (where parked_at is null)), 0)::float8 as oldest from outbox`,
)

/** Writes a message that nobody but the writer attempts for `leaseMs`; call it inside the deciding transaction. */
export async function enqueue(
  queries: Queries,
  scope: Scope,
  { id, kind, subjectId, payload, leaseMs }: { id: string; kind: string; subjectId: string; payload: Record<string, unknown>; leaseMs: number },
): Promise<Message> {
  const { traceparent } = traceHeaders(scope.span)
  const [message] = await queries.query(scope, INSERT, [id, kind, subjectId, payload, traceparent, Math.ceil(leaseMs)])
  return message as Message
}

/** Removes the message of this kind for a subject, if there is one; call it inside the transaction that settles it. */
export const dequeue = async (queries: Queries, scope: Scope, subjectId: string, kind: string): Promise<void> => {
  await queries.query(scope, DELETE, [subjectId, kind])
}

/** Applies an outcome that was not `done` to the row. */
async function putBack(
  database: Database,
  scope: Scope,
  message: Message,
  outcome: Exclude<Outcome, { kind: 'done' }>,
  waitMs: number,
): Promise<void> {
  if (outcome.kind === 'park') await database.query(scope, PARK, [message.id, outcome.reason])
  else await database.query(scope, POSTPONE, [message.id, Math.ceil(waitMs), outcome.reason])
}

/** The writer gives its message up before the lease ends, so that a relay takes it now. */
export async function handOver(database: Database, scope: Scope, message: Message, outcome: Exclude<Outcome, { kind: 'done' }>): Promise<void> {
  await putBack(database, scope, message, outcome, 0)
  if (outcome.kind === 'retry') await database.query(scope, NOTIFY)
}

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
  /** Messages claimed at once. @default 20 */
  batch?: number
  /** Longest wait between attempts. @default 15000 */
  maxBackoffMs?: number
}

export interface Relay {
  /** Stops claiming and waits for attempts under way, which are bounded by `attemptMs`. */
  close(): Promise<void>
}

/**
 * Delivers messages that their writers could not: short claim with a lease, then the attempt without any lock, then completion by
 * the handler. Any number of relays may run. NOTIFY makes it fast; the poll alone suffices.
 */
export function startRelay({
  database,
  tracer,
  log,
  metrics,
  handle,
  pollMs = 500,
  attemptMs = 3_000,
  batch = 20,
  maxBackoffMs = 15_000,
}: RelayOptions): Relay {
  const pending = metrics.gauge('outbox_pending', 'Messages not delivered yet; the same rows are seen by every replica, so take the max')
  const parked = metrics.gauge('outbox_parked', 'Messages that can never be delivered and wait for a person')
  const oldest = metrics.gauge('outbox_oldest_age_seconds', 'Age of the oldest message that is not parked')
  const attempts = metrics.counter('outbox_attempts_total', 'Deliveries tried by the relay', ['kind', 'outcome'])
  let closed = false
  let wake = () => {}

  const inSpan = async <T>(span: Span, work: (scope: Scope) => Promise<T>): Promise<T> => {
    const deadline = createDeadline(attemptMs)
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

  const attempt = (message: Message) =>
    inSpan(linkedSpan(tracer, `outbox ${message.kind}`, message.traceparent), async scope => {
      const outcome = await Promise.race([handle(message, scope), aborted(scope.deadline.signal)]).catch(
        (error: Error): Outcome => ({ kind: 'retry', reason: (error as { code?: string }).code ?? error.name }),
      )
      attempts.inc({ kind: message.kind, outcome: outcome.kind })
      if (outcome.kind === 'done') return
      if (outcome.kind === 'park') scope.log.error({ messageId: message.id, kind: message.kind, reason: outcome.reason }, 'outbox message parked')
      // At attempt n the wait is at most base * 2^n; the deadline of the attempt may be spent, so this has its own.
      const waitMs = backoffMs(message.attempts, { baseMs: 100, capMs: maxBackoffMs })
      await inSpan(linkedSpan(tracer, 'outbox put back', message.traceparent), own => putBack(database, own, message, outcome, waitMs))
    }).catch(error => log.warn({ err: error, messageId: message.id }, 'outbox attempt failed; its lease runs out by itself'))

  const round = () =>
    inSpan(unrecordedSpan(), async scope => {
      const messages = await database.query(scope, CLAIM, [attemptMs * 2, batch])
      const [stats] = await database.query(scope, STATS)
      pending.set(Number(stats?.pending ?? 0))
      parked.set(Number(stats?.parked ?? 0))
      oldest.set(stats?.oldest ?? 0)
      return messages
    })

  const loop = async () => {
    while (!closed) {
      const messages = await round().catch(error => {
        log.warn({ err: error }, 'outbox cannot be read')
        return []
      })
      await Promise.all(messages.map(attempt))
      if (messages.length < batch && !closed) {
        await new Promise<void>(resolve => {
          const timer = setTimeout(resolve, pollMs * (0.5 + Math.random()))
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    }
  }
  const listener = database.listen(CHANNEL, () => wake())
  const running = loop()
  return {
    close: async () => {
      closed = true
      wake()
      await Promise.all([running, listener.close()])
    },
  }
}
