import { expect, vi } from 'vitest'
import type { BreakerOptions } from '../../services/chassis/client/circuit.ts'
import { type Client, createClient } from '../../services/chassis/client/client.ts'
import { type Relay, type RelayOptions, startRelay } from '../../services/chassis/data/outbox.ts'
import { createAccessTokenVerifier } from '../../services/chassis/identity/auth.ts'
import { createApp } from '../../services/chassis/server/pipeline.ts'
import { orderContract } from '../../services/order/contract.ts'
import type { OrderLimits } from '../../services/order/limits.ts'
import { orderRoutes } from '../../services/order/routes.ts'
import { createSaga, type Saga } from '../../services/order/saga.ts'
import { order } from '../../services/order/service.ts'
import { createOrderStore, type OrderStore } from '../../services/order/store.ts'
import { watchUserKeys } from '../../services/order/user-keys.ts'
import type { userContract } from '../../services/user/contract.ts'
import { type TestDatabase, testDatabase } from './database.ts'
import { type Http, httpTo, type Listening, listen } from './http.ts'
import { type TestRuntime, testRuntime } from './runtime.ts'
import { REALM } from './user-service.ts'

export interface TestOrderService extends Listening {
  http: Http
  runtime: TestRuntime
  db: TestDatabase
  store: OrderStore
  saga: Saga
  user: Client<typeof userContract>
  /** Places an order with a key of its own. */
  place(token: string, items: { sku: string; quantity: number }[], key?: string): ReturnType<Http>
}

export interface OrderServiceOptions {
  /** @default one of its own */
  db?: TestDatabase
  limits?: OrderLimits
  /** `host:port` of the user service, real or not. */
  userHost: string
  /** A function for a token that changes. */
  workloadToken: string | (() => string)
  /** Of the circuit to the user service. */
  breaker?: Partial<BreakerOptions>
  /** false: do not wait for the keys of users' tokens. @default true, at most 5 s */
  awaitKeys?: boolean
  /** false: no relay, so that only requests move orders. @default true, polling every 50 ms */
  relay?: false | Partial<RelayOptions>
}

let count = 0

/** The order service in this process, on a database of its own. */
export async function startOrderService({
  db: given,
  userHost,
  limits,
  workloadToken,
  breaker = {},
  awaitKeys = true,
  relay: relayOptions = {},
}: OrderServiceOptions): Promise<TestOrderService> {
  const runtime = testRuntime('order')
  const db = given ?? (await testDatabase('order', { runtime }))
  const user = createClient(order, 'user', {
    ...runtime,
    host: userHost,
    workloadToken: typeof workloadToken === 'string' ? () => workloadToken : workloadToken,
    breaker,
  })
  const keys = watchUserKeys(user, runtime)
  const store = createOrderStore(db.database, limits)
  const orders = runtime.metrics.counter('orders_total', 'Orders', ['state'])
  const saga = createSaga({
    store,
    database: db.database,
    user,
    orders,
  })
  const relay: Relay | undefined = relayOptions
    ? startRelay({ ...runtime, database: db.database, handle: saga.deliver, pollMs: 50, maxBackoffMs: 200, ...relayOptions })
    : undefined
  const app = createApp(runtime, {
    service: order,
    handlers: orderRoutes({ store, saga }),
    loopDelay: { currentMs: () => 0, close: () => {} },
    trustedHops: 0,
    // So that a test can cut its request short, and name its trace.
    deadlinesOf: 'everybody',
    ingressTraces: 'continue',
    verifiers: { user: createAccessTokenVerifier(keys.lookup, REALM) },
  })
  const listening = await listen(app)
  const http = httpTo(listening.url, orderContract)
  if (awaitKeys) await vi.waitFor(() => expect(keys.ready()).toBe(true), { timeout: 5_000, interval: 5 })
  return {
    ...listening,
    http,
    runtime,
    db,
    store,
    saga,
    user,
    place: (token, items, key = `key-${process.pid}-${++count}`) =>
      http('POST', '/orders', { token, json: { items }, headers: { 'idempotency-key': key } }),
    close: async () => {
      keys.close()
      await listening.close()
      await relay?.close()
      await user.close()
      if (!given) await db.close()
    },
  }
}
