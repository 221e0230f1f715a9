import type { Scope } from '../contract/scope.ts'
import { traceHeaders } from '../telemetry/tracing.ts'
import type { Queries } from './database.ts'
import { statement } from './statement.ts'

/** A row of the outbox: a command that must reach its service at least once, written in the transaction that decides it. */
export interface Message<K extends string = string> {
  id: string
  /** The command, e.g. `stock.reserve`. */
  kind: K
  /** Of the command's operation, by whose parts the payload was written. */
  version: number
  /** What it is about, e.g. the order's id. */
  subjectId: string
  /** Its place among the messages of its subject, which are delivered in this order; 1 when there was no other. */
  sequence: number
  payload: Record<string, unknown>
  attempts: number
  traceparent?: string
}

/** What became of an attempt that did not settle its message. `park`: it can never succeed and is parked. */
export interface NotDelivered {
  kind: 'retry' | 'park'
  reason: string
}

/** `more`: others of its subject waited for it. */
interface Removed {
  more: boolean
}

/** For the log. */
export const nameOf = ({ id: messageId, kind, subjectId }: Message) => ({ messageId, kind, subjectId })

export interface Backlog {
  pending: number
  parked: number
  /** Of those pending: they wait until the parked one of their subject is retried or dropped. */
  blocked: number
  /** Age in seconds of the oldest message that is neither parked nor blocked. */
  oldest: number
}

/** NOTIFY on it wakes relays. */
export const CHANNEL = 'outbox'

const COLUMNS = 'id, kind, version, subject_id as "subjectId", sequence, payload, attempts, traceparent'
const INSERT = statement<Message>(
  'outbox-insert',
  `insert into outbox (id, kind, version, subject_id, payload, traceparent, due_at)
   values ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 millisecond') returning ${COLUMNS}`,
)
const WITHDRAW = statement('outbox-withdraw', 'delete from outbox where subject_id = $1 and kind = $2')
const REMOVE = statement<Removed>(
  'outbox-remove',
  `delete from outbox where id = $1
   returning exists (select from outbox later where later.subject_id = outbox.subject_id and later.sequence > outbox.sequence) as more`,
)
const CLAIM = statement<Message>(
  'outbox-claim',
  `update outbox set attempts = attempts + 1, due_at = now() + $1 * interval '1 millisecond'
   where id in (
     select id from outbox message where parked_at is null and due_at <= now()
       and not exists (select from outbox earlier where earlier.subject_id = message.subject_id and earlier.sequence < message.sequence)
     order by due_at limit $2 for update skip locked)
   returning ${COLUMNS}`,
)
const POSTPONE = statement(
  'outbox-postpone',
  `update outbox set due_at = now() + $2 * interval '1 millisecond', last_error = $3 where id = $1 and parked_at is null`,
)
const PARK = statement('outbox-park', 'update outbox set parked_at = now(), last_error = $2 where id = $1')
const NOTIFY = statement('outbox-notify', `select pg_notify('${CHANNEL}', '')`)
const STATS = statement<Backlog>(
  'outbox-stats',
  `select count(*) filter (where parked_at is null) as pending, count(*) filter (where parked_at is not null) as parked,
     count(*) filter (where parked_at is null and blocked) as blocked,
     coalesce(extract(epoch from now() - min(created_at) filter (where parked_at is null and not blocked)), 0)::float8 as oldest
   from (
     select parked_at, created_at, coalesce(first_parked < sequence, false) as blocked from outbox
       left join (select subject_id, min(sequence) as first_parked from outbox where parked_at is not null group by subject_id) parked using (subject_id)
   ) messages`,
)

/**
 * Writes a message that nobody but its writer attempts for `leaseMs`; call it inside the deciding transaction. Others that write for the same
 * subject wait until that ends.
 */
export async function enqueue<K extends string>(
  queries: Queries,
  scope: Scope,
  { id, kind, version, subjectId, payload, leaseMs }: Pick<Message<K>, 'id' | 'kind' | 'version' | 'subjectId' | 'payload'> & { leaseMs: number },
): Promise<Message<K>> {
  const { traceparent } = traceHeaders(scope.span)
  const [message] = await queries.query(scope, INSERT, [id, kind, version, subjectId, payload, traceparent, Math.ceil(leaseMs)])
  return message as Message<K>
}

/** Removes the messages of this kind for a subject, if there are any. */
export const dequeue = async (queries: Queries, scope: Scope, subjectId: string, kind: string): Promise<void> => {
  await queries.query(scope, WITHDRAW, [subjectId, kind])
}

/** @returns undefined when it was gone already */
export const remove = async (queries: Queries, scope: Scope, { id }: Message): Promise<Removed | undefined> =>
  (await queries.query(scope, REMOVE, [id]))[0]

/** Leases the messages that have been due longest, so that nobody else attempts them meanwhile: of each subject the first alone. */
export const claim = (queries: Queries, scope: Scope, leaseMs: number, limit: number): Promise<Message[]> =>
  queries.query(scope, CLAIM, [leaseMs, limit])

/** Parks a message, or makes it due again after `waitMs`. */
export async function putBack(queries: Queries, scope: Scope, { id }: Message, { kind, reason }: NotDelivered, waitMs: number): Promise<void> {
  if (kind === 'park') await queries.query(scope, PARK, [id, reason])
  else await queries.query(scope, POSTPONE, [id, Math.ceil(waitMs), reason])
}

/** The writer gives up its message before the lease ends, so that a relay takes it now. */
export async function handOver(queries: Queries, scope: Scope, message: Message, outcome: NotDelivered): Promise<void> {
  await putBack(queries, scope, message, outcome, 0)
  if (outcome.kind === 'retry') await queries.query(scope, NOTIFY)
}

export async function backlog(queries: Queries, scope: Scope): Promise<Backlog> {
  const [left = { pending: 0, parked: 0, blocked: 0, oldest: 0 }] = await queries.query(scope, STATS)
  return left
}
