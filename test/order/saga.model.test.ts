import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CallError } from '../../services/chassis/contract/call-error.ts'
import { Failure } from '../../services/chassis/contract/failure.ts'
import { newId } from '../../services/chassis/contract/ids.ts'
import type { CallCallee } from '../../services/chassis/data/delivery.ts'
import { fingerprintOf } from '../../services/chassis/data/idempotency.ts'
import type { Message } from '../../services/chassis/data/messages.ts'
import { type Outbox, openOutbox } from '../../services/chassis/data/outbox.ts'
import type { RelayOptions } from '../../services/chassis/data/relay.ts'
import { toProblem } from '../../services/chassis/server/problem.ts'
import type { OrderState } from '../../services/order/contract.ts'
import { createSaga, type Saga } from '../../services/order/saga.ts'
import { order } from '../../services/order/service.ts'
import { createOrderStore, type OrderStore } from '../../services/order/store.ts'
import { createReservationStore, type ReservationStore } from '../../services/user/reservations.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { testRuntime } from '../support/runtime.ts'

/**
 * What the network does with a call: brings it and its answer, loses it, loses its answer, answers 503 or 401 instead, or keeps the
 * call or its answer until the model lets it go.
 */
const FATES = ['pass', 'lose-call', 'lose-answer', 'busy', 'unauthorized', 'delay-call', 'delay-answer'] as const
type Fate = (typeof FATES)[number]

const LIMIT = 100_000
const runtime = testRuntime()
let orderDb: TestDatabase
let userDb: TestDatabase
let reservations: ReservationStore

beforeAll(async () => {
  orderDb = await testDatabase('order', { runtime })
  userDb = await testDatabase('user', { runtime: testRuntime() })
  reservations = createReservationStore(userDb.database)
})
afterAll(async () => {
  await orderDb?.close()
  await userDb?.close()
})

const scope = () => runtime.scope(60_000)

interface Network {
  fate: Fate
  /** Lets the call go that was delayed just now. */
  release: (() => void) | undefined
}

/** The order service's half, with real stores on both sides and a network in between that does as it is told. */
interface World {
  users: string[]
  store: OrderStore
  saga: Saga
  outbox: Outbox<typeof order>
  deliver: RelayOptions['handle']
  network: Network
  /** Calls or answers that are still under way: each lets go and waits for what then happens. */
  delayed: (() => Promise<unknown>)[]
  /** Every message that was ever written. */
  messages: Message[]
}

/** What is known of each order: the last state seen. */
interface Model {
  orders: { id: string; userId: string; state: OrderState }[]
}

type Command = fc.AsyncCommand<Model, World>

async function newWorld(): Promise<World> {
  const users = [newId(), newId()]
  for (const id of users) {
    await userDb.sql("insert into users (id, email, email_key, name, password_hash) values ($1, $2, $2, 'Ada', '')", [id, `${id}@example.org`])
    await userDb.sql("insert into credit_accounts (user_id, limit_amount, currency) values ($1, $2, 'EUR')", [id, LIMIT])
  }
  const orders = { inc: () => {} } as never
  const network: Network = { fate: 'pass', release: undefined }
  const { outbox, handlerOf } = openOutbox({ ...runtime, service: order, database: orderDb.database, call: callOver(network) })
  const store = createOrderStore(orderDb.database, outbox)
  const saga = createSaga(orders)
  const deliver = handlerOf({ 'user.reserveCredit': saga.reserved, 'user.releaseCredit': saga.released })
  return { users, store, saga, outbox, deliver, network, delayed: [], messages: [] }
}

function callOver(network: Network): CallCallee {
  const wait = () =>
    new Promise<void>(resolve => {
      network.release = resolve
    })
  const serve = async (operation: string, orderId: string, body: { userId: string; total: { amount: number; currency: 'EUR' } }) => {
    try {
      if (operation === 'releaseCredit') {
        await reservations.release(scope(), orderId)
        return { status: 204 }
      }
      await reservations.reserve(scope(), orderId, body.userId, body.total)
      return { status: 200, body: { ...body, orderId, state: 'reserved' } }
    } catch (error) {
      if (error instanceof Failure) return { status: toProblem(error).status, problem: toProblem(error).toJSON() }
      throw error
    }
  }
  return async (_scope, _callee, operation, options) => {
    const { fate } = network
    const { params, body } = options as unknown as { params: { orderId: string }; body: Parameters<typeof serve>[2] }
    if (fate === 'busy') throw new CallError('status-503', 'busy')
    if (fate === 'unauthorized') return { status: 401, problem: { code: 'unauthorized', detail: '' } }
    if (fate === 'lose-call') throw new CallError('unreachable', 'lost')
    if (fate === 'delay-call') await wait()
    const answer = await serve(operation, params.orderId, body)
    if (fate === 'delay-answer') await wait()
    if (fate === 'lose-answer') throw new CallError('timeout', 'lost')
    return answer as never
  }
}

/** Does work whose calls have this fate, up to its end or to where the network delays it. */
async function run({ network, delayed }: World, fate: Fate, work: () => Promise<unknown>): Promise<void> {
  network.fate = fate
  const running = work()
  let ended = false
  const end = () => {
    ended = true
  }
  running.then(end, end)
  while (!ended && !network.release) await new Promise(resolve => setImmediate(resolve))
  const { release } = network
  if (!release) await running
  else
    delayed.push(() => {
      release()
      return running
    })
  network.release = undefined
  network.fate = 'pass'
}

const pickOrder = (model: Model, n: number) => model.orders[n % model.orders.length] as Model['orders'][number]

const place = (user: number, sku: string, quantity: number, fate: Fate | 'die'): Command => ({
  toString: () => `place(user ${user}, ${quantity} ${sku}, ${fate})`,
  check: () => true,
  run: async (model, world) => {
    const owner = world.users[user] as string
    const items = [{ sku, quantity }]
    const placed = await world.store.place(scope(), { owner, key: newId(), fingerprint: fingerprintOf(items) }, items, () => {
      throw new Error('the key is new')
    })
    if (placed.kind !== 'new') throw new Error('the key is new')
    world.messages.push(placed.message)
    model.orders.push({ id: placed.order.id, userId: owner, state: 'pending' })
    if (fate !== 'die') await run(world, fate, () => world.outbox.attempt(scope(), placed.message, world.saga.reserved))
    await checkInvariants(model, world)
  },
})

const cancel = (n: number, fate: Fate | 'die'): Command => ({
  toString: () => `cancel(order ${n}, ${fate})`,
  check: model => model.orders.length > 0,
  run: async (model, world) => {
    const { id, userId, state } = pickOrder(model, n)
    const work = world.store.cancel(scope(), id, userId)
    if (state === 'rejected') {
      await expect(work).rejects.toMatchObject({ kind: 'conflict', code: 'not-cancellable' })
    } else {
      const { message } = await work
      expect(message !== undefined).toBe(state === 'pending' || state === 'confirmed')
      if (message) {
        world.messages.push(message)
        if (fate !== 'die') await run(world, fate, () => world.outbox.attempt(scope(), message, world.saga.released))
      }
    }
    await checkInvariants(model, world)
  },
})

/** Any message that was ever written, as the relay or a duplicate of its delivery. */
const deliver = (n: number, fate: Fate): Command => ({
  toString: () => `deliver(message ${n}, ${fate})`,
  check: () => true,
  run: async (model, world) => {
    const message = world.messages[n % Math.max(1, world.messages.length)]
    if (message) await run(world, fate, () => world.deliver(message, scope()))
    await checkInvariants(model, world)
  },
})

const arrive = (n: number): Command => ({
  toString: () => `arrive(${n})`,
  check: () => true,
  run: async (model, world) => {
    const [late] = world.delayed.splice(n % Math.max(1, world.delayed.length), 1)
    await late?.()
    await checkInvariants(model, world)
  },
})

const REACHABLE: Record<OrderState, OrderState[]> = {
  pending: ['pending', 'confirmed', 'rejected', 'cancelling', 'cancelled'],
  confirmed: ['confirmed', 'cancelling', 'cancelled'],
  rejected: ['rejected'],
  cancelling: ['cancelling', 'cancelled'],
  cancelled: ['cancelled'],
}

interface OrderSeen {
  id: string
  userId: string
  state: OrderState
  amount: number
  messages: string[] | null
}

async function checkInvariants(model: Model, world: World): Promise<void> {
  const held = await userDb.sql<{ userId: string; reserved: number; limit: number; sum: number }>(
    `select user_id as "userId", reserved_amount::float8 as reserved, limit_amount::float8 as limit,
       (select coalesce(sum(amount), 0)::float8 from reservations r where r.user_id = a.user_id and r.state = 'reserved') as sum
     from credit_accounts a where user_id = any($1)`,
    [world.users],
  )
  const orders = await ordersOf(world)

  expect(orders.map(({ id }) => id).sort(), 'every order exists exactly once').toEqual(model.orders.map(({ id }) => id).sort())
  for (const known of model.orders) {
    const seen = orders.find(({ id }) => id === known.id) as OrderSeen
    expect(REACHABLE[known.state], `order ${known.id} went from ${known.state} to ${seen.state}`).toContain(seen.state)
    known.state = seen.state
    const awaited = { pending: ['user.reserveCredit'], cancelling: ['user.releaseCredit'] }[seen.state as string] ?? null
    expect(seen.messages, `messages of a ${seen.state} order`).toEqual(awaited)
  }
  for (const { userId, reserved, limit, sum } of held) {
    const total = (...states: OrderState[]) =>
      orders.filter(order => order.userId === userId && states.includes(order.state)).reduce((amount, order) => amount + order.amount, 0)
    expect(sum, 'the account agrees with its reservations').toBe(reserved)
    expect(reserved, 'credit never passes its limit').toBeLessThanOrEqual(limit)
    expect(reserved, 'what is confirmed is reserved').toBeGreaterThanOrEqual(total('confirmed'))
    if (orders.every(order => order.userId !== userId || order.messages === null)) {
      expect(reserved, 'with an empty outbox just that').toBe(total('confirmed'))
    }
    expect(reserved, 'nothing else is reserved').toBeLessThanOrEqual(total('confirmed', 'pending', 'cancelling'))
  }
}

const ordersOf = ({ users }: World) =>
  orderDb.sql<OrderSeen>(
    `select id, user_id as "userId", state, total_amount::float8 as amount,
       (select array_agg(kind) from outbox where subject_id = orders.id) as messages
     from orders where user_id = any($1) order by id`,
    [users],
  )

/** Everything late arrives, then the network is good again and the relay works until nothing is left. */
async function drain(model: Model, world: World): Promise<void> {
  for (const late of world.delayed) await late()
  const left = await orderDb.sql<Message>(
    `select id, kind, version, subject_id as "subjectId", sequence, payload, attempts from outbox where subject_id = any($1)`,
    [model.orders.map(({ id }) => id)],
  )
  for (const message of left) await world.deliver(message, scope())
  await checkInvariants(model, world)
  for (const { id, state } of model.orders) expect(['confirmed', 'rejected', 'cancelled'], `order ${id} at the end`).toContain(state)
}

const fate = fc.oneof({ weight: 3, arbitrary: fc.constant<Fate>('pass') }, { weight: 7, arbitrary: fc.constantFrom(...FATES) })
const fateOrDeath = fc.oneof({ weight: 8, arbitrary: fate }, { weight: 1, arbitrary: fc.constant('die' as const) })
const index = fc.nat(30)
const sku = fc.constantFrom('airpods-4', 'usb-c-cable', 'iphone-17')

const commands = fc.commands<Model, World, false>(
  [
    fc.tuple(fc.nat(1), sku, fc.integer({ min: 1, max: 3 }), fateOrDeath).map(values => place(...values)),
    fc.tuple(index, fateOrDeath).map(values => cancel(...values)),
    fc.tuple(index, fate).map(values => deliver(...values)),
    index.map(arrive),
  ],
  { maxCommands: 20, size: 'max' },
)

test('orders and credit agree whatever the network does, in any order of events', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async sequence => {
      const world = await newWorld()
      const model: Model = { orders: [] }
      await fc.asyncModelRun(() => ({ model, real: world }), sequence)
      await drain(model, world)
    }),
    { numRuns: 60, endOnFailure: false, interruptAfterTimeLimit: 25_000 },
  )
})
