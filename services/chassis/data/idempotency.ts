import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { Failure } from '../contract/failure.ts'
import type { Scope } from '../contract/scope.ts'
import type { Queries } from './database.ts'
import { statement } from './statement.ts'

/** What was answered first, to be sent again unchanged. */
export interface StoredAnswer {
  status: number
  /** JSON text. */
  body: string
  location: string | null
}

/** The idempotency key of a request, whose it is, and what it asks for. */
export interface RequestKey {
  owner: string
  key: string
  fingerprint: Buffer
}

/** What a key stands for: nothing yet, an answer, or a request whose process died before it answered. */
export type Claim = { kind: 'new' } | { kind: 'answered'; answer: StoredAnswer } | { kind: 'died'; subjectId: string }

interface KeyRow {
  fingerprint: Buffer
  subjectId: string
  alive: boolean
  status: number | null
  body: string | null
  location: string | null
}

const LOCK = statement<{ locked: boolean }>('idempotency-lock', "select pg_try_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0)) as locked")
const FIND = statement<KeyRow>(
  'idempotency-find',
  `select fingerprint, subject_id as "subjectId", alive_until > now() as alive, answer_status as status, answer_body as body,
     answer_location as location
   from idempotency_keys where owner = $1 and key = $2 and created_at > now() - interval '24 hours'`,
)
const INSERT = 'insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until)'
const OR_REPLACE = `on conflict (owner, key) do update set fingerprint = excluded.fingerprint, subject_id = excluded.subject_id,
     alive_until = excluded.alive_until, created_at = now(), answer_status = null, answer_body = null, answer_location = null`
const RECORD = statement('idempotency-record', `${INSERT} values ($1, $2, $3, $4, now() + $5 * interval '1 millisecond') ${OR_REPLACE}`)

/** SQL for what a key's record holds, such as `$3`. */
export interface KeySql {
  owner: string
  key: string
  fingerprint: string
  subjectId: string
  /** How long others get 409 while there is no answer, in milliseconds. */
  aliveMs: string
}

/**
 * Parts of a WITH that record a key, for one statement in the place of a transaction. The part `new_key` has a row where the key is new; what
 * else the statement does has to come from it. Where nothing comes back nothing was done, and `claimKey` in a transaction says why.
 * A statement sees what was there when it began, which is before it has the lock: what another has recorded meanwhile shows in the conflict.
 * @param where what else has to hold, which is looked at before the key is locked
 */
export const recordingKey = ({ owner, key, fingerprint, subjectId, aliveMs }: KeySql, where = 'true'): string => `
  locked_key as materialized (
    select pg_try_advisory_xact_lock(hashtextextended(${owner}::text || ' ' || ${key}::text, 0)) as locked
    where not exists (select from idempotency_keys where owner = ${owner} and key = ${key} and created_at > now() - interval '24 hours') and ${where}
  ),
  new_key as (
    ${INSERT}
    select ${owner}::text, ${key}::text, ${fingerprint}::bytea, ${subjectId}::uuid, now() + ${aliveMs}::float8 * interval '1 millisecond'
    from locked_key where locked
    ${OR_REPLACE} where idempotency_keys.created_at <= now() - interval '24 hours'
    returning subject_id
  )`

/** SQL for an answer and whose it is. */
export type AnswerSql = Pick<KeySql, 'owner' | 'key'> & Record<keyof StoredAnswer, string>

/**
 * A statement, or a part of a WITH, that stores an answer unless one is stored already: the first stays, and whoever comes second is told it.
 * @param where what else has to hold
 */
export const recordingAnswer = ({ owner, key, status, body, location }: AnswerSql, where = 'true'): string => `
  update idempotency_keys set answer_status = coalesce(answer_status, ${status}::smallint), answer_body = coalesce(answer_body, ${body}::text),
    answer_location = case when answer_status is null then ${location}::text else answer_location end
  where owner = ${owner} and key = ${key} and ${where}
  returning answer_status as status, answer_body as body, answer_location as location`

const ANSWER = statement<StoredAnswer>('idempotency-answer', recordingAnswer({ owner: '$1', key: '$2', status: '$3', body: '$4', location: '$5' }))
const PURGE = statement('idempotency-purge', "delete from idempotency_keys where created_at < now() - interval '24 hours'")

/** SHA-256 of the body in canonical form (RFC 8785), so that white space and member order do not matter. */
export const fingerprintOf = (body: unknown): Buffer =>
  createHash('sha256')
    .update(canonicalize(body) as string)
    .digest()

/**
 * Looks a key up, holding its lock until the transaction ends. Keys belong to one owner and live 24 hours.
 * @throws Failure `idempotency-conflict` while the first request is under way, `idempotency-key-reused` for another body
 */
export async function claimKey(queries: Queries, scope: Scope, { owner, key, fingerprint }: RequestKey): Promise<Claim> {
  const [lock] = await queries.query(scope, LOCK, [owner, key])
  if (!lock?.locked) throw conflict()
  const [row] = await queries.query(scope, FIND, [owner, key])
  if (!row) return { kind: 'new' }
  if (!row.fingerprint.equals(fingerprint)) {
    throw new Failure('refused', 'idempotency-key-reused', 'This Idempotency-Key was used with another body; take a new one')
  }
  if (row.status !== null && row.body !== null) return { kind: 'answered', answer: { status: row.status, body: row.body, location: row.location } }
  if (row.alive) throw conflict()
  return { kind: 'died', subjectId: row.subjectId }
}

/** Writes a new key; `aliveMs` bounds how long others get 409 while there is no answer. */
export async function recordKey(
  queries: Queries,
  scope: Scope,
  { owner, key, fingerprint, subjectId, aliveMs }: RequestKey & { subjectId: string; aliveMs: number },
): Promise<void> {
  await queries.query(scope, RECORD, [owner, key, fingerprint, subjectId, Math.ceil(aliveMs)])
}

/** Stores the answer unless one is stored already. @returns the stored answer, which the caller must be given */
export async function recordAnswer(queries: Queries, scope: Scope, owner: string, key: string, answer: StoredAnswer): Promise<StoredAnswer> {
  const [stored] = await queries.query(scope, ANSWER, [owner, key, answer.status, answer.body, answer.location])
  return stored ?? answer
}

export const purgeKeys = (queries: Queries, scope: Scope): Promise<unknown> => queries.query(scope, PURGE)

const conflict = () =>
  new Failure('conflict', 'idempotency-conflict', 'The first request with this Idempotency-Key is still under way', { retryAfterSeconds: 1 })
