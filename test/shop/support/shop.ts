import pg from 'pg'
import { expect, vi } from 'vitest'
import { type OrderServiceOptions, startOrderService, type TestOrderService } from './order-service.ts'
import { startUserProxy, type UserProxy } from './user-proxy.ts'
import { startUserService, type TestUserService } from './user-service.ts'

export type Customer = Awaited<ReturnType<TestUserService['newUser']>>

export interface Shop {
  user: TestUserService
  order: TestOrderService
  /** Between the two. */
  proxy: UserProxy
  /** What the user service holds for a user, in minor units. */
  reserved(userId: string): Promise<number>
  state(orderId: string): Promise<string | undefined>
  /** Waits until the relay has brought an order to this state. */
  untilState(orderId: string, state: string): Promise<void>
  /** Number of messages that are not delivered. */
  outbox(orderId: string): Promise<number>
  /** Takes tables of the order service away from everybody else until the returned function is called. */
  lock(tables: string): Promise<() => Promise<void>>
  /** The same for what one statement locks. */
  lockWith(statement: string): Promise<() => Promise<void>>
  /** Waits until a session of the order service waits for a lock. */
  untilBlocked(): Promise<void>
  /** Waits until none does. */
  untilNobodyIsBlocked(): Promise<void>
  close(): Promise<void>
}

/** Both services in this process with a proxy between them, and a circuit that never opens: tests make calls fail at will. */
export async function startShop(options: Partial<OrderServiceOptions> = {}): Promise<Shop> {
  const user = await startUserService()
  const proxy = await startUserProxy(user.url, user.grpcHost)
  const order = await startOrderService({
    userHost: proxy.host,
    userGrpcHost: proxy.grpcHost,
    workloadToken: user.workloadToken,
    breaker: { minimumRps: 1_000_000 },
    ...options,
  })
  const lockWith = async (statement: string) => {
    const client = new pg.Client({ connectionString: order.db.url })
    await client.connect()
    await client.query('begin')
    await client.query(statement)
    return () => client.end()
  }
  const blocked = () => order.db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
  const state = async (orderId: string) => (await order.db.sql<{ state: string }>('select state from orders where id = $1', [orderId]))[0]?.state
  return {
    user,
    order,
    proxy,
    state,
    reserved: async userId => {
      const [row] = await user.db.sql<{ reserved: string }>('select reserved_amount as reserved from credit_accounts where user_id = $1', [userId])
      return Number(row?.reserved)
    },
    untilState: (orderId, wanted) => vi.waitFor(async () => expect(await state(orderId)).toBe(wanted), { timeout: 15_000, interval: 20 }),
    outbox: async orderId => (await order.db.sql('select 1 from outbox where subject_id = $1', [orderId])).length,
    lockWith,
    lock: tables => lockWith(`lock table ${tables} in access exclusive mode`),
    untilBlocked: () => vi.waitFor(async () => expect(await blocked()).not.toEqual([]), { timeout: 5_000, interval: 5 }),
    untilNobodyIsBlocked: () => vi.waitFor(async () => expect(await blocked()).toEqual([]), { timeout: 20_000, interval: 20 }),
    close: async () => {
      await order.close()
      await proxy.close()
      await user.close()
    },
  }
}
