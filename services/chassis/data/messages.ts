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
export interface Removed {
  more: boolean
}

export interface Written {
  sequence: number
}

/** A command that is not written yet. */
export interface Draft<K extends string = string> {
  /** For the parameters of `sendingCommand`. */
  values: readonly unknown[]
  /** The message, once its row is written. */
  written(row: Written): Message<K>
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
/**
 * A statement, or a part of a WITH, that writes a draft of a command.
 * @param first number of the first of the seven parameters that `values` of the draft are for
 * @param from part of the WITH that has one row if the command is to be sent
 */
export const sendingCommand = (first: number, from = '(select) once'): string => {
  const [id, kind, version, subjectId, payload, traceparent, leaseMs] = Array.from({ length: 7 }, (_, n) => `$${first + n}`)
  return `
  insert into outbox (id, kind, version, subject_id, payload, traceparent, due_at)
  select ${id}::uuid, ${kind}::text, ${version}::smallint, ${subjectId}::uuid, ${payload}::jsonb, ${traceparent}::text,
    now() + ${leaseMs}::float8 * interval '1 millisecond'
  from ${from} returning sequence`
}
const INSERT = statement<Written>('outbox-insert', sendingCommand(1))
const WITHDRAW = statement('outbox-withdraw', 'delete from outbox where subject_id = $1 and kind = $2')
/**
 * A statement, or a part of a WITH that is named `removed`, that removes a message.
 * @param id SQL for its id, such as `$1`
 * @param where what else has to hold
 */
export const removingMessage = (id: string, where = 'true'): string => `
  delete from outbox where id = ${id} and ${where}
  returning exists (select from outbox later where later.subject_id = outbox.subject_id and later.sequence > outbox.sequence) as more`

/**
 * A column for the rows of a statement that settles a message by what it changes: whether others of its subject waited. Where something was changed
 * and no message `removed`, since another settled it meanwhile, it divides by zero, which undoes the statement.
 */
export const MORE = 'case when exists (select from removed) then (select more from removed) else 1 / (select count(*) from removed) = 0 end as more'

const REMOVE = statement<Removed>('outbox-remove', removingMessage('$1'))
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

/** A message that nobody but its writer attempts for `leaseMs`. */
export function draftOf<K extends string>(
  scope: Scope,
  { id, kind, version, subjectId, payload, leaseMs }: Pick<Message<K>, 'id' | 'kind' | 'version' | 'subjectId' | 'payload'> & { leaseMs: number },
): Draft<K> {
  const { traceparent } = traceHeaders(scope.span)
  return {
    values: [id, kind, version, subjectId, payload, traceparent, Math.ceil(leaseMs)],
    written: ({ sequence }) => ({ id, kind, version, subjectId, sequence, payload, attempts: 0, ...(traceparent && { traceparent }) }),
  }
}

/** Writes a draft; call it inside the deciding transaction. Others that write for the same subject wait until that ends. */
export async function enqueue<K extends string>(queries: Queries, scope: Scope, draft: Draft<K>): Promise<Message<K>> {
  const [row] = await queries.query(scope, INSERT, draft.values)
  return draft.written(row as Written)
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
