import { Failure, type Scope } from '@fairlead/chassis'
import { type Queries, statement } from '@fairlead/chassis/data'

/** What one user may hold; many at once may overshoot by as many as they are. */
export interface OrderLimits {
  /** Orders that are pending or cancelling. @default 100 */
  open: number
  /** Orders that were rejected, in 24 hours. @default 100 */
  refused: number
}

export const DEFAULT_LIMITS: OrderLimits = { open: 100, refused: 100 }

const REFUSED = "rejection_code is not null and created_at > now() - interval '24 hours'"

/** For a WHERE with the user as $2 and the limits as $6 and $7. Each counts in an index of its own, and no further than its limit. */
export const WITHIN_LIMITS = `
  (select count(*) from (select from orders where user_id = $2::uuid and state in ('pending', 'cancelling') limit $6) open) < $6
  and (select count(*) from (select from orders where user_id = $2::uuid and ${REFUSED} limit $7) refused) < $7`

const WAIT_FOR_REFUSED = statement<{ seconds: number }>(
  'order-wait-for-refused',
  `select ceil(extract(epoch from created_at + interval '24 hours' - now()))::int as seconds from orders
   where user_id = $1 and ${REFUSED} order by created_at desc offset $2 limit 1`,
)
/** An open order settles as soon as the user service answers. */
const OPEN_RETRY_SECONDS = 5

/** Says which limit an order that was not inserted ran into. */
export async function overLimit(queries: Queries, scope: Scope, userId: string, { open, refused }: OrderLimits): Promise<Failure> {
  const [wait] = await queries.query(scope, WAIT_FOR_REFUSED, [userId, Math.max(0, refused - 1)])
  return wait
    ? tooMany('too-many-refused-orders', `${refused} orders were refused within a day; order again later, within the credit`, wait.seconds)
    : tooMany('too-many-open-orders', `${open} orders are not settled yet; order again when they are`, OPEN_RETRY_SECONDS)
}

const tooMany = (code: string, detail: string, seconds: number) => new Failure('too-many', code, detail, { retryAfterSeconds: Math.max(1, seconds) })
