import { Failure, newId, type Scope } from '@fairlead/chassis'
import {
  claimKey,
  type Database,
  dequeue,
  enqueue,
  type Message,
  type Queries,
  recordAnswer,
  recordKey,
  type StoredAnswer,
  statement,
} from '@fairlead/chassis/data'
import { euros, total } from '../money.ts'
import type { Order, OrderItem, OrderState, Product } from './contract.ts'
import { DEFAULT_LIMITS, type OrderLimits, overLimit, WITHIN_LIMITS } from './limits.ts'
import { nextState, type OrderEvent, statesBefore } from './state.ts'
import { sagaStep } from './steps.ts'

export const RESERVE = 'reserve-credit'
export const RELEASE = 'release-credit'

interface ProductRow {
  sku: string
  name: string
  description: string
  price: number
}

interface OrderRow {
  id: string
  userId: string
  state: OrderState
  version: number
  items: OrderItem[]
  total: number
  rejectionCode: string | null
  createdAt: Date
}

/** An order as the store knows it; `toOrder` makes what callers see. */
export type StoredOrder = OrderRow

/** The idempotency key of a request and whose it is. */
export interface RequestKey {
  owner: string
  key: string
  fingerprint: Buffer
}

export type Placed = { kind: 'new'; order: StoredOrder; message: Message } | { kind: 'answered'; answer: StoredAnswer }

const PRODUCT = 'sku, name, description, price_amount as price'
const PRODUCTS = statement<ProductRow>('product-list', `select ${PRODUCT} from products order by sku`)
const PRODUCT_BY_SKU = statement<ProductRow>('product-by-sku', `select ${PRODUCT} from products where sku = $1`)
const PRODUCTS_BY_SKU = statement<ProductRow>('products-by-sku', `select ${PRODUCT} from products where sku = any($1)`)

const ORDER = 'id, user_id as "userId", state, version, items, total_amount as total, rejection_code as "rejectionCode", created_at as "createdAt"'
const INSERT_ORDER = statement<OrderRow>(
  'order-insert',
  `insert into orders (id, user_id, state, items, total_amount, currency)
   select $1::uuid, $2::uuid, 'pending', $3::jsonb, $4::bigint, $5::char(3) where ${WITHIN_LIMITS} returning ${ORDER}`,
)
const ORDER_BY_ID = statement<OrderRow>('order-by-id', `select ${ORDER} from orders where id = $1`)
const ORDER_OF_USER = statement<OrderRow>('order-of-user', `select ${ORDER} from orders where id = $1 and user_id = $2`)
const LOCK_ORDER = statement<OrderRow>('order-lock', `select ${ORDER} from orders where id = $1 and user_id = $2 for update`)
const ORDERS_OF_USER = statement<OrderRow>(
  'order-list',
  `select ${ORDER} from orders where user_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`,
)
// The row is locked by the update itself, before the outbox row: every path takes the two in this order.
const MOVE_ORDER = statement<OrderRow>(
  'order-move',
  `update orders set state = $2, version = version + 1, rejection_code = $3 where id = $1 and version = $4 and state = any($5) returning ${ORDER}`,
)

export type OrderStore = ReturnType<typeof createOrderStore>

/** Products and orders. */
export function createOrderStore(database: Database, limits: OrderLimits = DEFAULT_LIMITS) {
  const insertOrder = async (queries: Queries, scope: Scope, userId: string, lines: readonly { sku: string; quantity: number }[]) => {
    const products = new Map((await queries.query(scope, PRODUCTS_BY_SKU, [lines.map(line => line.sku)])).map(row => [row.sku, row]))
    const items = lines.map(({ sku, quantity }): OrderItem => {
      const product = products.get(sku)
      if (!product) throw new Failure('not-found', 'unknown-sku', `There is no product ${sku}`)
      return { sku, name: product.name, quantity, unitPrice: euros(product.price) }
    })
    const { amount, currency } = total(items)
    const [order] = await queries.query(scope, INSERT_ORDER, [newId(), userId, JSON.stringify(items), amount, currency, limits.open, limits.refused])
    if (!order) throw await overLimit(queries, scope, userId, limits)
    return order
  }

  const send = (queries: Queries, scope: Scope, kind: string, { id, userId, version, total: amount }: OrderRow, leaseMs: number) =>
    enqueue(queries, scope, { id: newId(), kind, subjectId: id, payload: { userId, version, amount }, leaseMs })

  return {
    products: (scope: Scope): Promise<ProductRow[]> => database.query(scope, PRODUCTS),

    product: async (scope: Scope, sku: string): Promise<ProductRow | undefined> => (await database.query(scope, PRODUCT_BY_SKU, [sku]))[0],

    /**
     * In one transaction: the order, its idempotency record, and the leased message that reserves its credit; or what the key
     * was answered. When its first request died, that is `answerTo` the order as it is now, stored while the key is still locked,
     * so that repeats at the same moment cannot differ.
     * @throws Failure `too-many-open-orders` or `too-many-refused-orders` for a new order
     */
    place: (
      scope: Scope,
      request: RequestKey,
      lines: readonly { sku: string; quantity: number }[],
      answerTo: (order: StoredOrder) => StoredAnswer,
    ): Promise<Placed> =>
      database.transaction(scope, async queries => {
        const claim = await claimKey(queries, scope, request)
        if (claim.kind === 'answered') return claim
        if (claim.kind === 'died') {
          const [order] = await queries.query(scope, ORDER_BY_ID, [claim.subjectId])
          return { kind: 'answered', answer: await recordAnswer(queries, scope, request.owner, request.key, answerTo(order as OrderRow)) }
        }
        const leaseMs = scope.deadline.remainingMs() + 500
        const order = await insertOrder(queries, scope, request.owner, lines)
        sagaStep('order-inserted')
        await recordKey(queries, scope, { ...request, subjectId: order.id, aliveMs: leaseMs })
        sagaStep('key-recorded')
        const message = await send(queries, scope, RESERVE, order, leaseMs)
        sagaStep('message-enqueued')
        return { kind: 'new', order, message }
      }),

    /**
     * In one transaction: applies the user service's decision, removes the message that asked for it, and stores the answer when
     * the request still waits. A decision that comes too late changes nothing but the outbox.
     * @returns the order as it is now, and whether the decision moved it
     */
    settle: (
      scope: Scope,
      message: Message,
      event: OrderEvent,
      {
        rejectionCode = null,
        answer,
      }: { rejectionCode?: string | null; answer?: { request: RequestKey; of: (order: StoredOrder) => StoredAnswer } } = {},
    ): Promise<{ order: StoredOrder; moved: boolean }> =>
      database.transaction(scope, async queries => {
        const before = statesBefore(event)
        const after = nextState(before[0] as OrderState, event)
        const [moved] = await queries.query(scope, MOVE_ORDER, [message.subjectId, after, rejectionCode, message.payload.version, before])
        sagaStep('order-moved')
        const order = moved ?? ((await queries.query(scope, ORDER_BY_ID, [message.subjectId]))[0] as OrderRow)
        await dequeue(queries, scope, message.subjectId, message.kind)
        sagaStep('message-dequeued')
        if (answer) await recordAnswer(queries, scope, answer.request.owner, answer.request.key, answer.of(order))
        return { order, moved: moved !== undefined }
      }),

    recordAnswer: (scope: Scope, { owner, key }: RequestKey, answer: StoredAnswer): Promise<StoredAnswer> =>
      recordAnswer(database, scope, owner, key, answer),

    /**
     * Starts a cancellation in one transaction: the reservation's message goes, the release's comes.
     * @returns the order, and the message when this call is the one that started it
     * @throws Failure `unknown-order`, `not-cancellable`
     */
    cancel: (scope: Scope, id: string, userId: string): Promise<{ order: StoredOrder; message?: Message }> =>
      database.transaction(scope, async queries => {
        const [order] = await queries.query(scope, LOCK_ORDER, [id, userId])
        if (!order) throw unknownOrder()
        if (order.state === 'rejected') throw new Failure('conflict', 'not-cancellable', 'The order was rejected; there is nothing to cancel')
        const after = nextState(order.state, 'cancel')
        if (!after) return { order }
        const [moved] = await queries.query(scope, MOVE_ORDER, [id, after, null, order.version, [order.state]])
        sagaStep('cancel-moved')
        await dequeue(queries, scope, id, RESERVE)
        const message = await send(queries, scope, RELEASE, moved as OrderRow, scope.deadline.remainingMs() + 500)
        sagaStep('cancel-enqueued')
        return { order: moved as OrderRow, message }
      }),

    /** Once false it stays false. */
    isPending: async (scope: Scope, id: string): Promise<boolean> => (await database.query(scope, ORDER_BY_ID, [id]))[0]?.state === 'pending',

    ofUser: async (scope: Scope, id: string, userId: string): Promise<StoredOrder> => {
      const [order] = await database.query(scope, ORDER_OF_USER, [id, userId])
      if (!order) throw unknownOrder()
      return order
    },

    /** Newest first, after `cursor` (an order's id). One more than asked for tells whether there is a next page. */
    list: (scope: Scope, userId: string, limit: number, cursor: string | undefined): Promise<StoredOrder[]> =>
      database.query(scope, ORDERS_OF_USER, [userId, cursor ?? null, limit]),
  }
}

const unknownOrder = () => new Failure('not-found', 'unknown-order', 'There is no such order')

export const toProduct = ({ sku, name, description, price }: ProductRow): Product => ({ sku, name, description, price: euros(price) })

export const toOrder = ({ id, state, items, total: amount, rejectionCode, createdAt }: StoredOrder): Order => ({
  id,
  state,
  items,
  total: euros(amount),
  createdAt: createdAt.toISOString(),
  ...(rejectionCode && { rejection: { code: rejectionCode } }),
})
