import { type Database, statement } from '../chassis/database.ts'
import type { Money } from '../chassis/money.ts'
import { ProblemError } from '../chassis/problem.ts'
import type { Scope } from '../chassis/scope.ts'

interface ReservationRow {
  userId: string | null
  amount: number | null
  state: 'reserved' | 'refused' | 'released'
}

// The row is born refused and becomes reserved in the same transaction when the credit suffices.
const DECIDE = statement<{ orderId: string }>(
  'reservation-decide',
  `insert into reservations (order_id, user_id, amount, currency, state) values ($1, $2, $3, $4, 'refused') on conflict (order_id) do nothing returning order_id as "orderId"`,
)
const FIND = statement<ReservationRow>('reservation-find', 'select user_id as "userId", amount, state from reservations where order_id = $1')
const LOCK = statement<ReservationRow>(
  'reservation-lock',
  'select user_id as "userId", amount, state from reservations where order_id = $1 for update',
)
const HOLD = statement<{ userId: string }>(
  'credit-hold',
  `update credit_accounts set reserved_amount = reserved_amount + $2
   where user_id = $1 and currency = $3 and reserved_amount + $2 <= limit_amount returning user_id as "userId"`,
)
const GIVE_BACK = statement('credit-give-back', 'update credit_accounts set reserved_amount = reserved_amount - $2 where user_id = $1')
const SET_STATE = statement('reservation-set-state', 'update reservations set state = $2, decided_at = now() where order_id = $1')
const TOMBSTONE = statement<{ orderId: string }>(
  'reservation-tombstone',
  `insert into reservations (order_id, state) values ($1, 'released') on conflict (order_id) do nothing returning order_id as "orderId"`,
)

export interface ReservationStore {
  /**
   * Holds credit. The first decision for an order is final and is told again to every repeat.
   * @throws ProblemError 422 `credit-exceeded`, 404 `unknown-user`, 409 `reservation-mismatch` or `reservation-released`
   */
  reserve(scope: Scope, orderId: string, userId: string, total: Money): Promise<void>
  /** Gives credit back, or refuses a reservation that has not come yet. Idempotent. */
  release(scope: Scope, orderId: string): Promise<void>
}

/** Locks the reservation's row before the credit's, in every path, so that they cannot deadlock. */
export function createReservationStore(database: Database): ReservationStore {
  return {
    reserve: async (scope, orderId, userId, total) => {
      const state = await database
        .transaction(scope, async queries => {
          const [first] = await queries.query(scope, DECIDE, [orderId, userId, total.amount, total.currency])
          if (!first) {
            const [decided] = await queries.query(scope, FIND, [orderId])
            return repeat(decided as ReservationRow, userId, total)
          }
          const [held] = await queries.query(scope, HOLD, [userId, total.amount, total.currency])
          if (!held) return 'refused'
          await queries.query(scope, SET_STATE, [orderId, 'reserved'])
          return 'reserved'
        })
        .catch(error => {
          // Foreign key: nobody has this id. Nothing is recorded.
          if ((error as { code?: string }).code === '23503') throw new ProblemError(404, 'unknown-user', 'There is no such user')
          throw error
        })
      if (state === 'refused') throw new ProblemError(422, 'credit-exceeded', 'The order exceeds the credit that is left')
    },

    release: (scope, orderId) =>
      database.transaction(scope, async queries => {
        const [fresh] = await queries.query(scope, TOMBSTONE, [orderId])
        if (fresh) return
        const [row] = await queries.query(scope, LOCK, [orderId])
        if (!row || row.state === 'released') return
        await queries.query(scope, SET_STATE, [orderId, 'released'])
        if (row.state === 'reserved') await queries.query(scope, GIVE_BACK, [row.userId, row.amount])
      }),
  }
}

function repeat(decided: ReservationRow, userId: string, total: Money): 'reserved' | 'refused' {
  if (decided.state === 'released') throw new ProblemError(409, 'reservation-released', 'The order was released; it cannot reserve again')
  if (decided.userId !== userId || decided.amount !== total.amount) {
    throw new ProblemError(409, 'reservation-mismatch', 'The order has a reservation with another user or total')
  }
  return decided.state
}
