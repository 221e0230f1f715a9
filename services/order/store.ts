import { Failure, type Scope } from '@fairlead/chassis'
import {
  claimKey,
  type Database,
  type Message,
  type Outbox,
  type Queries,
  type RequestKey,
  recordAnswer,
  type StoredAnswer,
  type Transaction,
} from '@fairlead/chassis/data'
import { euros } from '../money.ts'
import { DEFAULT_LIMITS, type OrderLimits, overLimit } from './limits.ts'
import { findOrder, insertOrder, listOrders, moveOrder, orderOfUser, type PlacedWith, type StoredOrder } from './orders.ts'
import { findProduct, type Line, listProducts, offer, type ProductRow } from './products.ts'
import type { order as definition } from './service.ts'
import { nextState } from './state.ts'
import { sagaStep } from './steps.ts'

export type Placed = { kind: 'new'; order: StoredOrder; message: Message<'user.reserveCredit'> } | { kind: 'answered'; answer: StoredAnswer }
export interface Cancelled {
  order: StoredOrder
  message?: Message<'user.releaseCredit'>
}

export type OrderStore = ReturnType<typeof createOrderStore>

/** Products and orders. */
export function createOrderStore(database: Database, outbox: Outbox<typeof definition>, limits: OrderLimits = DEFAULT_LIMITS) {
  return {
    products: (scope: Scope): Promise<ProductRow[]> => listProducts(database, scope),
    product: (scope: Scope, sku: string): Promise<ProductRow | undefined> => findProduct(database, scope, sku),

    /**
     * All at once: the order, its idempotency record, and the leased command that reserves its credit; or what the key
     * was answered. When its first request died, that is `answerTo` the order as it is now, stored while the key is still locked,
     * so that repeats at the same moment cannot differ.
     * @throws Failure `unknown-sku`, `too-many-open-orders` or `too-many-refused-orders` for a new order
     */
    place: async (scope: Scope, request: RequestKey, lines: readonly Line[], answerTo: (order: StoredOrder) => StoredAnswer): Promise<Placed> => {
      // As long as the message is leased: until nobody can answer the request any more.
      const aliveMs = scope.deadline.remainingMs() + 500
      const send: PlacedWith['send'] = ({ id, userId, total }) =>
        outbox.draft(scope, 'user.reserveCredit', id, { params: { orderId: id }, body: { userId, total: euros(total) } })
      const insert = async (queries: Queries) =>
        insertOrder(queries, scope, await offer(queries, scope, lines), limits, { request: { ...request, aliveMs }, send })
      const placed = await insert(database).catch(unlessNotOffered)
      if (placed) return { kind: 'new', ...placed }
      // Only who has the key can say why nothing was done: what was answered is answered again, whatever it asks for.
      return database.transaction(scope, async tx => {
        const claim = await claimKey(tx, scope, request)
        if (claim.kind === 'answered') return claim
        if (claim.kind === 'new') {
          const late = await insert(tx)
          if (!late) throw await overLimit(tx, scope, request.owner, limits)
          return { kind: 'new', ...late }
        }
        const order = await findOrder(tx, scope, claim.subjectId)
        return { kind: 'answered', answer: await recordAnswer(tx, scope, request.owner, request.key, answerTo(order)) }
      })
    },

    recordAnswer: (scope: Scope, { owner, key }: RequestKey, answer: StoredAnswer): Promise<StoredAnswer> =>
      recordAnswer(database, scope, owner, key, answer),

    /**
     * Starts a cancellation in one transaction: the reservation's command is withdrawn, the release's is sent.
     * @returns the order, and the message when this call is the one that started it
     * @throws Failure `unknown-order`, `not-cancellable`
     */
    cancel: (scope: Scope, id: string, userId: string): Promise<Cancelled> =>
      database.transaction(scope, async tx => {
        const order = await orderOfUser(tx, scope, id, userId, { lock: true })
        if (order.state === 'rejected') throw new Failure('conflict', 'not-cancellable', 'The order was rejected; there is nothing to cancel')
        return nextState(order.state, 'cancel') ? startCancelling(tx, scope, outbox, id) : { order }
      }),

    ofUser: (scope: Scope, id: string, userId: string): Promise<StoredOrder> => orderOfUser(database, scope, id, userId),
    list: (scope: Scope, userId: string, limit: number, cursor: string | undefined): Promise<StoredOrder[]> =>
      listOrders(database, scope, userId, limit, cursor),
  }
}

/** What is not offered any more, or at a price that nobody can pay, may have been ordered with that key. */
function unlessNotOffered(error: Error): undefined {
  if (!(error instanceof RangeError || (error instanceof Failure && error.code === 'unknown-sku'))) throw error
}

async function startCancelling(tx: Transaction, scope: Scope, outbox: Outbox<typeof definition>, id: string): Promise<Cancelled> {
  const { order } = await moveOrder(tx, scope, id, 'cancel')
  sagaStep('cancel-moved')
  await outbox.withdraw(tx, scope, 'user.reserveCredit', id)
  const message = await outbox.send(tx, scope, 'user.releaseCredit', id, { params: { orderId: id } }, { leased: true })
  sagaStep('cancel-enqueued')
  return { order, message }
}
