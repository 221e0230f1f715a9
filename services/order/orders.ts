import { Failure, newId, type Scope } from '@fairlead/chassis'
import {
  type Deciding,
  type Draft,
  type Message,
  MORE,
  type Queries,
  type Removed,
  type RequestKey,
  recordingAnswer,
  recordingKey,
  removingMessage,
  type StoredAnswer,
  sendingCommand,
  statement,
  type Written,
} from '@fairlead/chassis/data'
import { euros, total } from '../money.ts'
import type { Order, OrderItem, OrderState } from './contract.ts'
import { type OrderLimits, WITHIN_LIMITS } from './limits.ts'
import { type OrderEvent, stateAfter, statesBefore } from './state.ts'

/** An order as the store knows it; `toOrder` makes what callers see. */
export interface StoredOrder {
  id: string
  userId: string
  state: OrderState
  version: number
  items: OrderItem[]
  total: number
  rejectionCode: string | null
  createdAt: Date
}

const ORDER = 'id, user_id as "userId", state, version, items, total_amount as total, rejection_code as "rejectionCode", created_at as "createdAt"'
const KEY = { owner: '$2', key: '$8', fingerprint: '$9', subjectId: '$1', aliveMs: '$10' }
// In the place of a transaction, in one round trip: see docs/decisions/2026-11-27-an-order-in-three-statements.md.
const PLACE = statement<StoredOrder & Written>(
  'order-place',
  `with ${recordingKey(KEY, WITHIN_LIMITS)},
   placed as (
     insert into orders (id, user_id, state, items, total_amount, currency)
     select $1::uuid, $2::uuid, 'pending', $3::jsonb, $4::bigint, $5::char(3) from new_key returning ${ORDER}
   ),
   sent as (${sendingCommand(11, 'placed')})
   select placed.*, sent.sequence from placed, sent`,
)
const BY_ID = statement<StoredOrder>('order-by-id', `select ${ORDER} from orders where id = $1`)
const OF_USER = statement<StoredOrder>('order-of-user', `select ${ORDER} from orders where id = $1 and user_id = $2`)
const LOCK = statement<StoredOrder>('order-lock', `select ${ORDER} from orders where id = $1 and user_id = $2 for update`)
const LIST = statement<StoredOrder>(
  'order-list',
  `select ${ORDER} from orders where user_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`,
)
// The row is locked by the update itself, before the outbox row: every path takes the two in this order.
const MOVING = `update orders set state = $2, version = version + 1, rejection_code = $3 where id = $1 and state = any($4) returning ${ORDER}`
const MOVE = statement<StoredOrder>('order-move', MOVING)
// The same with what else settles a message. Each part waits for the one before, in the order in which every path locks them.
const SETTLE = statement<StoredOrder & Removed>(
  'order-settle',
  `with moved as (${MOVING}),
   removed as (${removingMessage('$5', 'exists (select from moved)')}),
   answered as (${recordingAnswer({ owner: '$6', key: '$7', status: '$8', body: '$9', location: '$10' }, 'exists (select from removed)')})
   select moved.*, ${MORE} from moved`,
)

/** What is written with a new order: the key of its request, and the command that reserves its credit. */
export interface PlacedWith {
  /** How long repeats get 409 while there is no answer, in milliseconds. */
  request: RequestKey & { aliveMs: number }
  send: (order: Pick<StoredOrder, 'id' | 'userId' | 'total'>) => Draft<'user.reserveCredit'>
}

/** @returns undefined when nothing was done: the key is not new, or a limit is reached */
export async function insertOrder(
  queries: Queries,
  scope: Scope,
  items: OrderItem[],
  { open, refused }: OrderLimits,
  { request: { owner: userId, key, fingerprint, aliveMs }, send }: PlacedWith,
): Promise<{ order: StoredOrder; message: Message<'user.reserveCredit'> } | undefined> {
  const id = newId()
  const { amount, currency } = total(items)
  const draft = send({ id, userId, total: amount })
  const order = [id, userId, JSON.stringify(items), amount, currency, open, refused]
  const [placed] = await queries.query(scope, PLACE, [...order, key, fingerprint, Math.ceil(aliveMs), ...draft.values])
  if (!placed) return undefined
  const { sequence, ...stored } = placed
  return { order: stored, message: draft.written({ sequence }) }
}

/** One that exists. */
export const findOrder = async (queries: Queries, scope: Scope, id: string): Promise<StoredOrder> =>
  (await queries.query(scope, BY_ID, [id]))[0] as StoredOrder

/** @throws Failure `unknown-order` for another user's, too */
export async function orderOfUser(queries: Queries, scope: Scope, id: string, userId: string, { lock = false } = {}): Promise<StoredOrder> {
  const [order] = await queries.query(scope, lock ? LOCK : OF_USER, [id, userId])
  if (!order) throw new Failure('not-found', 'unknown-order', 'There is no such order')
  return order
}

/** Newest first, after `cursor` (an order's id). One more than asked for tells whether there is a next page. */
export const listOrders = (queries: Queries, scope: Scope, userId: string, limit: number, cursor: string | undefined): Promise<StoredOrder[]> =>
  queries.query(scope, LIST, [userId, cursor ?? null, limit])

/**
 * Applies an event. One that comes too late changes nothing.
 * @returns the order as it is then, and whether the event moved it
 */
export async function moveOrder(
  queries: Queries,
  scope: Scope,
  id: string,
  event: OrderEvent,
  rejectionCode: string | null = null,
): Promise<{ order: StoredOrder; moved: boolean }> {
  const [moved] = await queries.query(scope, MOVE, [id, stateAfter(event), rejectionCode, statesBefore(event)])
  return { order: moved ?? (await findOrder(queries, scope, id)), moved: moved !== undefined }
}

/** The answer to the request that placed an order, if it still waits. */
export interface AnswerOf {
  request: RequestKey
  answer: StoredAnswer
}

/**
 * Applies an event, removes the message that brought it, and stores the answer.
 * @returns undefined when the event comes too late, and nothing was done
 */
export async function settleOrder(
  { queries, scope, subject, messageId }: Deciding,
  event: OrderEvent,
  rejectionCode: string | null,
  waiting: AnswerOf | undefined,
): Promise<{ order: StoredOrder; more: boolean } | undefined> {
  const { request, answer } = waiting ?? {}
  const answered = [request?.owner, request?.key, answer?.status, answer?.body, answer?.location]
  const [row] = await queries.query(scope, SETTLE, [subject, stateAfter(event), rejectionCode, statesBefore(event), messageId, ...answered])
  if (!row) return undefined
  const { more, ...order } = row
  return { order, more }
}

export const toOrder = ({ id, state, items, total: amount, rejectionCode, createdAt }: StoredOrder): Order => ({
  id,
  state,
  items,
  total: euros(amount),
  createdAt: createdAt.toISOString(),
  ...(rejectionCode && { rejection: { code: rejectionCode } }),
})
