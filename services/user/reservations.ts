import { Failure, type Scope, unavailable } from '@fairlead/chassis'
import { type Database, statement } from '@fairlead/chassis/data'
import type { Money } from '../money.ts'

interface ReservationRow {
  userId: string | null
  amount: number | null
  state: 'reserved' | 'refused' | 'released'
}

// One statement, so that the credit's row is locked while the server decides and not while this process takes its turn: many orders of
// one user at once would otherwise wait for each other's round trips (docs/decisions/2026-11-25-one-statement-a-reservation.md).
// A repeat holds nothing by the first `not exists`, and by the second inserts nothing, which spares it an error.
const DECIDE = statement<{ state: 'reserved' | 'refused' }>(
  'reservation-decide',
  `with held as (
     update credit_accounts set reserved_amount = reserved_amount + $3
     where user_id = $2 and currency = $4 and reserved_amount + $3 <= limit_amount and not exists (select from reservations where order_id = $1)
     returning user_id
   )
   insert into reservations (order_id, user_id, amount, currency, state)
   select $1, $2, $3, $4, case when exists (select from held) then 'reserved' else 'refused' end
   where not exists (select from reservations where order_id = $1)
   returning state`,
)
const FIND = statement<ReservationRow>('reservation-find', 'select user_id as "userId", amount, state from reservations where order_id = $1')
const LOCK = statement<ReservationRow>(
  'reservation-lock',
  'select user_id as "userId", amount, state from reservations where order_id = $1 for update',
)
const GIVE_BACK = statement('credit-give-back', 'update credit_accounts set reserved_amount = reserved_amount - $2 where user_id = $1')
const RELEASE = statement('reservation-release', "update reservations set state = 'released', decided_at = now() where order_id = $1")
const TOMBSTONE = statement<{ orderId: string }>(
  'reservation-tombstone',
  `insert into reservations (order_id, state) values ($1, 'released') on conflict (order_id) do nothing returning order_id as "orderId"`,
)

// A refusal holds nothing. Who asks once more a month later has not settled the order yet and may as well get a new decision; what was released
// stays, since it keeps a late repeat from holding credit for ever.
const PURGE = statement('reservation-purge', "delete from reservations where state = 'refused' and decided_at < now() - interval '30 days'")

export interface ReservationStore {
  /**
   * Holds credit. The first decision for an order is final and is told again to every repeat.
   * @throws Failure `credit-exceeded`, `unknown-user`, `reservation-mismatch` or `reservation-released`
   */
  reserve(scope: Scope, orderId: string, userId: string, total: Money): Promise<void>
  /** Gives credit back, or refuses a reservation that has not come yet. Idempotent. */
  release(scope: Scope, orderId: string): Promise<void>
  /** Forgets refusals that nobody asks for any more. */
  purge(scope: Scope): Promise<unknown>
}

const FOREIGN_KEY_VIOLATION = '23503'
const UNIQUE_VIOLATION = '23505'

/**
 * They cannot deadlock: a release locks the order's row, then the credit, and changes the row last; a decision takes the credit first, but
 * fails at once where there is a row that nobody has changed yet. Another's insert of the same row it may wait for, which wants no credit more.
 */
export function createReservationStore(database: Database): ReservationStore {
  return {
    reserve: async (scope, orderId, userId, total) => {
      const [first] = await database.query(scope, DECIDE, [orderId, userId, total.amount, total.currency]).catch(error => {
        // Nobody has this id. Nothing is recorded.
        if (error.code === FOREIGN_KEY_VIOLATION) throw new Failure('not-found', 'unknown-user', 'There is no such user')
        // Another request decided meanwhile, and what this one held is undone.
        if (error.code === UNIQUE_VIOLATION) return []
        throw error
      })
      const state = first?.state ?? repeat(await decided(scope, orderId), userId, total)
      if (state === 'refused') throw new Failure('refused', 'credit-exceeded', 'The order exceeds the credit that is left')
    },

    release: (scope, orderId) =>
      database.transaction(scope, async queries => {
        const [fresh] = await queries.query(scope, TOMBSTONE, [orderId])
        if (fresh) return
        const [row] = await queries.query(scope, LOCK, [orderId])
        if (!row || row.state === 'released') return
        // The credit first: a decision that holds it would wait to see whether a changed row stays, but not for one that is only locked.
        if (row.state === 'reserved') await queries.query(scope, GIVE_BACK, [row.userId, row.amount])
        await queries.query(scope, RELEASE, [orderId])
      }),

    purge: scope => database.query(scope, PURGE),
  }

  async function decided(scope: Scope, orderId: string): Promise<ReservationRow> {
    const [row] = await database.query(scope, FIND, [orderId])
    // It was there a moment ago; only a refusal can be purged in between.
    if (!row) throw unavailable('The reservation was forgotten meanwhile; repeat it')
    return row
  }
}

function repeat(decided: ReservationRow, userId: string, total: Money): 'reserved' | 'refused' {
  if (decided.state === 'released') throw new Failure('conflict', 'reservation-released', 'The order was released; it cannot reserve again')
  if (decided.userId !== userId || decided.amount !== total.amount) {
    throw new Failure('conflict', 'reservation-mismatch', 'The order has a reservation with another user or total')
  }
  return decided.state
}
