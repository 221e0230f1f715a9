import { Failure, newId, type Scope } from '@fairlead/chassis'
import {
  claimKey,
  type Database,
  type Message,
  type Outbox,
  type Queries,
  recordAnswer,
  recordKey,
  type StoredAnswer,
  statement,
} from '@fairlead/chassis/data'
import { euros, total } from '../money.ts'
import type { Order, OrderItem, OrderState, Product } from './contract.ts'
import { DEFAULT_LIMITS, type OrderLimits, overLimit, WITHIN_LIMITS } from './limits.ts'
import type { order as definition } from './service.ts'
import { nextState, type OrderEvent, statesBefore } from './state.ts'
import { sagaStep } from './steps.ts'

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

export type Placed = { kind: 'new'; order: StoredOrder; message: Message<'user.reserveCredit'> } | { kind: 'answered'; answer: StoredAnswer }

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
  `update orders set state = $2, version = version + 1, rejection_code = $3 where id = $1 and state = any($4) returning ${ORDER}`,
)

export type OrderStore = ReturnType<typeof createOrderStore>

/** Products and orders. */
export function createOrderStore(database: Database, outbox: Outbox<typeof definition>, limits: OrderLimits = DEFAULT_LIMITS) {
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

  const find = async (queries: Queries, scope: Scope, id: string): Promise<StoredOrder> =>
    (await queries.query(scope, ORDER_BY_ID, [id]))[0] as OrderRow

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
      database.transaction(scope, async tx => {
        const claim = await claimKey(tx, scope, request)
        if (claim.kind === 'answered') return claim
        if (claim.kind === 'died') {
          const order = await find(tx, scope, claim.subjectId)
          return { kind: 'answered', answer: await recordAnswer(tx, scope, request.owner, request.key, answerTo(order)) }
        }
        const leaseMs = scope.deadline.remainingMs() + 500
        const order = await insertOrder(tx, scope, request.owner, lines)
        sagaStep('order-inserted')
        await recordKey(tx, scope, { ...request, subjectId: order.id, aliveMs: leaseMs })
        sagaStep('key-recorded')
        const parts = { params: { orderId: order.id }, body: { userId: order.userId, total: euros(order.total) } }
        const message = await outbox.send(tx, scope, 'user.reserveCredit', order.id, parts, { leased: true })
        sagaStep('message-enqueued')
        return { kind: 'new', order, message }
      }),

    /**
     * Applies the user service's decision. One that comes too late changes nothing.
     * @returns the order as it is then, and whether the decision moved it
     */
    move: async (
      tx: Queries,
      scope: Scope,
      id: string,
      event: OrderEvent,
      rejectionCode: string | null = null,
    ): Promise<{ order: StoredOrder; moved: boolean }> => {
      const before = statesBefore(event)
      const after = nextState(before[0] as OrderState, event)
      const [moved] = await tx.query(scope, MOVE_ORDER, [id, after, rejectionCode, before])
      return { order: moved ?? (await find(tx, scope, id)), moved: moved !== undefined }
    },

    recordAnswer: (scope: Scope, { owner, key }: RequestKey, answer: StoredAnswer, queries: Queries = database): Promise<StoredAnswer> =>
      recordAnswer(queries, scope, owner, key, answer),

    /**
     * Starts a cancellation in one transaction: the reservation's command is withdrawn, the release's is sent.
     * @returns the order, and the message when this call is the one that started it
     * @throws Failure `unknown-order`, `not-cancellable`
     */
    cancel: (scope: Scope, id: string, userId: string): Promise<{ order: StoredOrder; message?: Message<'user.releaseCredit'> }> =>
      database.transaction(scope, async tx => {
        const [order] = await tx.query(scope, LOCK_ORDER, [id, userId])
        if (!order) throw unknownOrder()
        if (order.state === 'rejected') throw new Failure('conflict', 'not-cancellable', 'The order was rejected; there is nothing to cancel')
        const after = nextState(order.state, 'cancel')
        if (!after) return { order }
        const [moved] = await tx.query(scope, MOVE_ORDER, [id, after, null, [order.state]])
        sagaStep('cancel-moved')
        await outbox.withdraw(tx, scope, 'user.reserveCredit', id)
        const message = await outbox.send(tx, scope, 'user.releaseCredit', id, { params: { orderId: id } }, { leased: true })
        sagaStep('cancel-enqueued')
        return { order: moved as OrderRow, message }
      }),

    find,

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
