import { expect, vi } from 'vitest'
import type { BreakerOptions } from '../../../services/chassis/client/circuit.ts'
import { type Client, createClient } from '../../../services/chassis/client/client.ts'
import type { Edge } from '../../../services/chassis/contract/definition.ts'
import type { Scope } from '../../../services/chassis/contract/scope.ts'
import { type Outbox, openOutbox } from '../../../services/chassis/data/outbox.ts'
import type { RelayOptions } from '../../../services/chassis/data/relay.ts'
import { orderContract } from '../../../services/order/contract.ts'
import type { OrderLimits } from '../../../services/order/limits.ts'
import type { Saga } from '../../../services/order/saga.ts'
import { order } from '../../../services/order/service.ts'
import { type OrderParts, orderParts, orderService, startOrder } from '../../../services/order/start.ts'
import type { OrderStore } from '../../../services/order/store.ts'
import type { userContract } from '../../../services/user/contract.ts'
import { type TestDatabase, testDatabase } from '../../support/database.ts'
import { type Http, httpTo, type Listening, listen } from '../../support/http.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'
import { wired } from '../../support/wired.ts'
import { REALM_ENV } from './user-service.ts'

export interface TestOrderService extends Listening {
  http: Http
  runtime: TestRuntime
  db: TestDatabase
  store: OrderStore
  saga: Saga
  outbox: Outbox<typeof order>
  /** One attempt of a message, as the relay makes it. */
  deliver: RelayOptions['handle']
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
  /** The same by gRPC. @default nobody is there */
  userGrpcHost?: string
  /** Of the edge to the user service. @default what the graph says */
  protocol?: 'http' | 'grpc'
  /** A function for a token that changes. */
  workloadToken: string | (() => string)
  /** Of the circuit to the user service. */
  breaker?: Partial<BreakerOptions>
  /** false: do not wait for the keys of users' tokens. @default true, at most 5 s */
  awaitKeys?: boolean
  /** false: no relay, so that only requests move orders. @default true, polling every 50 ms */
  relay?: false | Partial<RelayOptions>
}

/** Port 9 is "discard", and no test runs that. */
/** Whatever other edges there are. */
const toUser = (order.calls as readonly Edge[]).find(({ to }) => to.name === 'user') as Edge

const NOBODY = '127.0.0.1:9'

let count = 0

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const UNSIGNED = `${part({ alg: 'EdDSA', typ: 'at+jwt', kid: 'nobody' })}.${part({})}.${Buffer.alloc(64).toString('base64url')}`

/** The order service in this process, on a database of its own. */
export async function startOrderService({
  db: given,
  userHost,
  userGrpcHost = NOBODY,
  protocol = toUser.protocol ?? 'http',
  limits,
  workloadToken,
  breaker = {},
  awaitKeys = true,
  relay: relayOptions = {},
}: OrderServiceOptions): Promise<TestOrderService> {
  const runtime = testRuntime('order')
  const db = given ?? (await testDatabase('order', { runtime }))
  const definition = { ...order, calls: [{ ...toUser, protocol }] } as unknown as typeof order
  const user = createClient(definition, 'user', {
    ...runtime,
    host: protocol === 'grpc' ? userGrpcHost : userHost,
    workloadToken: typeof workloadToken === 'string' ? () => workloadToken : workloadToken,
    breaker,
  })
  const env = {
    ...REALM_ENV,
    AUTH_JWKS_URI: `http://${userHost}/.well-known/jwks.json`,
    ...(limits && { MAX_OPEN_ORDERS: String(limits.open), MAX_REFUSED_ORDERS_PER_DAY: String(limits.refused) }),
  }
  let parts: (OrderParts & { outbox: Outbox<typeof order> }) | undefined
  const start: typeof orderService.start = wiring => {
    parts = { ...orderParts(wiring), outbox: wiring.outbox }
    return startOrder(wiring, parts)
  }
  const service = await wired({ ...orderService, start }, env, {
    runtime,
    database: db.database,
    clients: { user },
    relay: relayOptions && { pollMs: 50, maxBackoffMs: 200, ...relayOptions },
    // So that a test can cut its request short, and name its trace.
    deadlinesOf: 'everybody',
    ingressTraces: 'continue',
  })
  const listening = await listen(service.app)
  const http = httpTo(listening.url, orderContract)
  // Only who has the keys can tell that nobody signed this.
  if (awaitKeys)
    await vi.waitFor(async () => expect((await http('GET', '/orders', { token: UNSIGNED })).status).toBe(401), { timeout: 5_000, interval: 5 })
  const { store, saga, outbox } = parts as unknown as NonNullable<typeof parts>
  const call = (scope: Scope, _callee: string, operation: string, options: object) => user.call(scope, operation as 'releaseCredit', options as never)
  const deliver = openOutbox({ ...runtime, service: order, database: db.database, call }).handlerOf({
    'user.reserveCredit': saga.reserved,
    'user.releaseCredit': saga.released,
  })
  return {
    ...listening,
    http,
    runtime,
    db,
    store,
    saga,
    outbox,
    deliver,
    user,
    place: (token, items, key = `key-${process.pid}-${++count}`) =>
      http('POST', '/orders', { token, json: { items }, headers: { 'idempotency-key': key } }),
    close: async () => {
      await listening.close()
      await service.close()
      await user.close()
      if (!given) await db.close()
    },
  }
}
