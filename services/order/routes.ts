import { hash } from 'node:crypto'
import { encodeCursor, Failure, REPLAYED_HEADER, type Scope, serveOpenApi, within } from '@fairlead/chassis'
import { fingerprintOf, type Outbox, type RequestKey, type StoredAnswer } from '@fairlead/chassis/data'
import { type Handlers, ProblemError } from '@fairlead/chassis/server'
import { type Order, orderContract } from './contract.ts'
import { type StoredOrder, toOrder } from './orders.ts'
import { toProduct } from './products.ts'
import type { Saga } from './saga.ts'
import type { order as definition } from './service.ts'
import { sagaStep } from './steps.ts'
import type { OrderStore } from './store.ts'

export interface OrderDependencies {
  store: OrderStore
  saga: Saga
  outbox: Outbox<typeof definition>
}

const DEFAULT_PAGE = 20
/** Kept back for sending the answer, in milliseconds. */
const SEND_MS = 20

/** One handler for each operation of the contract. */
export function orderRoutes({ store, saga, outbox }: OrderDependencies): Handlers<typeof orderContract> {
  const document = serveOpenApi(orderContract, { title: 'order', version: '1', description: 'Products and orders of the shop.' })

  /** Before the answer goes out, so that the next repeat finds it, but never so long that the order's 202 turns into a 504. */
  const remember = async (scope: Scope, request: RequestKey, answer: StoredAnswer): Promise<StoredAnswer> => {
    try {
      return await within(scope, SEND_MS, inner => store.recordAnswer(inner, request, answer))
    } catch (error) {
      // Made up for by the first repeat, which answers from the order's state.
      scope.log.warn({ err: error }, 'answer not recorded')
      return answer
    }
  }

  /** An order that another has settled meanwhile, as it is now. */
  const present = async (scope: Scope, before: StoredOrder): Promise<StoredOrder> => {
    try {
      return await within(scope, SEND_MS, inner => store.ofUser(inner, before.id, before.userId))
    } catch (error) {
      scope.log.warn({ err: error }, 'order not read again')
      return before
    }
  }

  return {
    listProducts: async ({ scope, ifNoneMatch }) => cacheable({ products: (await store.products(scope)).map(toProduct) }, ifNoneMatch),

    getProduct: async ({ scope, params, ifNoneMatch }) => {
      const row = await store.product(scope, params.sku)
      if (!row) throw new Failure('not-found', 'unknown-sku', `There is no product ${params.sku}`)
      return cacheable(toProduct(row), ifNoneMatch)
    },

    placeOrder: async ({ scope, principal, body, idempotencyKey }) => {
      const request: RequestKey = { owner: principal.id, key: idempotencyKey, fingerprint: fingerprintOf(body) }
      const placed = await store.place(scope, request, body.items, answerTo)
      if (placed.kind === 'answered') return replay(placed.answer)
      sagaStep('order-committed')
      const attempt = await outbox.attempt(scope, placed.message, saga.reservedFor({ request, order: placed.order, of: answerTo }))
      if (attempt.kind === 'settled') return give(answerTo(attempt.value))
      const order = attempt.kind === 'gone' ? await present(scope, placed.order) : placed.order
      return give(await remember(scope, request, answerTo(order)))
    },

    listOrders: async ({ scope, principal, query: { limit = DEFAULT_PAGE, cursor } }) => {
      const rows = await store.list(scope, principal.id, limit + 1, cursor)
      const page = rows.slice(0, limit)
      const last = page.at(-1)
      return { status: 200, body: { orders: page.map(toOrder), ...(rows.length > limit && last && { nextCursor: encodeCursor(last.id) }) } }
    },

    getOrder: async ({ scope, principal, params }) => ({ status: 200, body: toOrder(await store.ofUser(scope, params.id, principal.id)) }),

    cancelOrder: async ({ scope, principal, params }) => {
      const { order, message } = await store.cancel(scope, params.id, principal.id)
      if (message) sagaStep('cancel-committed')
      const attempt = message && (await outbox.attempt(scope, message, saga.released))
      const now = attempt?.kind === 'settled' ? attempt.value : order
      return { status: now.state === 'cancelled' ? 200 : 202, body: toOrder(now) }
    },

    getOpenApi: document,
    getOpenApiByName: document,
  }
}

/** Tagged by its content, so that no change of a row can go unnoticed. */
function cacheable<B>(body: B, ifNoneMatch: string | undefined) {
  const etag = `"${hash('sha256', JSON.stringify(body), 'base64url').slice(0, 22)}"`
  const headers = { etag, 'cache-control': 'no-cache' }
  return matches(ifNoneMatch, etag) ? { status: 304 as const, headers } : { status: 200 as const, body, headers }
}

/** RFC 9110 section 13.1.2, weak comparison. */
const matches = (ifNoneMatch: string | undefined, etag: string): boolean =>
  ifNoneMatch !== undefined && (ifNoneMatch.trim() === '*' || ifNoneMatch.split(',').some(tag => tag.trim().replace(/^W\//, '') === etag))

/** What `POST /orders` says of an order in this state: the first answer, which repeats get unchanged. */
function answerTo(order: StoredOrder): StoredAnswer {
  if (order.state === 'rejected') {
    const problem = new ProblemError(422, order.rejectionCode ?? 'credit-exceeded', 'The user service refused to reserve credit for the order', {
      extra: { orderId: order.id },
    })
    return { status: 422, body: JSON.stringify(problem), location: null }
  }
  const settled = order.state === 'confirmed' || order.state === 'cancelled'
  return { status: settled ? 201 : 202, body: JSON.stringify(toOrder(order)), location: `/orders/${order.id}` }
}

function give({ status, body, location }: StoredAnswer, headers: Record<string, string> = {}) {
  if (status >= 400) {
    const { code, detail, orderId } = JSON.parse(body) as { code: string; detail: string; orderId: string }
    throw new ProblemError(status, code, detail, { extra: { orderId }, headers })
  }
  return { status: status as 201 | 202, body: JSON.parse(body) as Order, headers: { ...(location && { location }), ...headers } }
}

const replay = (answer: StoredAnswer) => give(answer, { [REPLAYED_HEADER]: 'true' })
