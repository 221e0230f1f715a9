import { Failure, newId, type Scope } from '@fairlead/chassis'
import { type Queries, statement } from '@fairlead/chassis/data'
import { euros, total } from '../money.ts'
import type { Order, OrderItem, OrderState } from './contract.ts'
import { type OrderLimits, overLimit, WITHIN_LIMITS } from './limits.ts'
import { nextState, type OrderEvent, statesBefore } from './state.ts'

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
const INSERT = statement<StoredOrder>(
  'order-insert',
  `insert into orders (id, user_id, state, items, total_amount, currency)
   select $1::uuid, $2::uuid, 'pending', $3::jsonb, $4::bigint, $5::char(3) where ${WITHIN_LIMITS} returning ${ORDER}`,
)
const BY_ID = statement<StoredOrder>('order-by-id', `select ${ORDER} from orders where id = $1`)
const OF_USER = statement<StoredOrder>('order-of-user', `select ${ORDER} from orders where id = $1 and user_id = $2`)
const LOCK = statement<StoredOrder>('order-lock', `select ${ORDER} from orders where id = $1 and user_id = $2 for update`)
const LIST = statement<StoredOrder>(
  'order-list',
  `select ${ORDER} from orders where user_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`,
)
// The row is locked by the update itself, before the outbox row: every path takes the two in this order.
const MOVE = statement<StoredOrder>(
  'order-move',
  `update orders set state = $2, version = version + 1, rejection_code = $3 where id = $1 and state = any($4) returning ${ORDER}`,
)

/** @throws Failure `too-many-open-orders` or `too-many-refused-orders` */
export async function insertOrder(queries: Queries, scope: Scope, userId: string, items: OrderItem[], limits: OrderLimits): Promise<StoredOrder> {
  const { amount, currency } = total(items)
  const [order] = await queries.query(scope, INSERT, [newId(), userId, JSON.stringify(items), amount, currency, limits.open, limits.refused])
  if (!order) throw await overLimit(queries, scope, userId, limits)
  return order
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
  const before = statesBefore(event)
  const after = nextState(before[0] as OrderState, event)
  const [moved] = await queries.query(scope, MOVE, [id, after, rejectionCode, before])
  return { order: moved ?? (await findOrder(queries, scope, id)), moved: moved !== undefined }
}

export const toOrder = ({ id, state, items, total: amount, rejectionCode, createdAt }: StoredOrder): Order => ({
  id,
  state,
  items,
  total: euros(amount),
  createdAt: createdAt.toISOString(),
  ...(rejectionCode && { rejection: { code: rejectionCode } }),
})
