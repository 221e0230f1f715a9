import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { startOrderService, type TestOrderService } from '../shop/support/order-service.ts'
import { type Customer, type Shop, startShop } from '../shop/support/shop.ts'
import { expectProblem } from '../support/http.ts'

const SAGA_CHANNEL = 'fairlead.saga'
const OUTBOX_CHANNEL = 'fairlead.outbox'
const JSON_TYPE = 'application/json; charset=utf-8'
const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]

let shop: Shop
let order: TestOrderService
let customer: Customer

beforeAll(async () => {
  shop = await startShop()
  order = shop.order
  customer = await shop.user.newUser()
})
afterEach(() => shop.proxy.behave('pass'))
afterAll(() => shop?.close())

describe('POST /orders', () => {
  test('confirms an order within the credit and reserves its total', async () => {
    const { token } = await shop.user.newUser()
    const placed = await order.place(token, [{ sku: 'airpods-4', quantity: 2 }])
    expect({ status: placed.status, type: placed.type }).toEqual({ status: 201, type: JSON_TYPE })
    expect(placed.body).toEqual({
      id: expect.any(String),
      state: 'confirmed',
      items: [{ sku: 'airpods-4', name: 'AirPods 4', quantity: 2, unitPrice: { amount: 14_900, currency: 'EUR' } }],
      total: { amount: 29_800, currency: 'EUR' },
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    expect(placed.headers.get('location')).toBe(`/orders/${placed.body.id}`)
    expect(placed.headers.has('idempotency-replayed')).toBe(false)
    const credit = await shop.user.http('GET', '/users/me/credit', { token })
    expect(credit.body).toEqual({
      limit: { amount: 100_000, currency: 'EUR' },
      reserved: { amount: 29_800, currency: 'EUR' },
      available: { amount: 70_200, currency: 'EUR' },
    })
  })

  test('leads to the order by its Location', async () => {
    const placed = await order.place(customer.token, CABLE)
    const found = await order.http('GET', placed.headers.get('location') as string, { token: customer.token })
    expect({ status: found.status, type: found.type, body: found.body }).toEqual({ status: 200, type: JSON_TYPE, body: placed.body })
  })

  test('counts the order by the state that it reached', async () => {
    const before = await order.runtime.metric('orders_total{state="confirmed"}')
    await order.place(customer.token, CABLE)
    expect(await order.runtime.metric('orders_total{state="confirmed"}')).toBe(before + 1)
  })

  test('rejects an order over the credit with the id of the order, and reserves nothing', async () => {
    const { id, token } = await shop.user.newUser()
    const placed = await order.place(token, [{ sku: 'iphone-17-pro', quantity: 1 }])
    expectProblem(placed, 422, 'credit-exceeded')
    expect(placed.headers.has('location')).toBe(false)
    const found = await order.http('GET', `/orders/${placed.body.orderId}`, { token })
    expect(found.body).toMatchObject({ state: 'rejected', rejection: { code: 'credit-exceeded' } })
    expect(await shop.reserved(id)).toBe(0)
    expect(await shop.outbox(placed.body.orderId)).toBe(0)
  })

  test('lets orders at once take no more than the credit', async () => {
    const { id, token } = await shop.user.newUser()
    const placed = await Promise.all(Array.from({ length: 10 }, () => order.place(token, [{ sku: 'airpods-4', quantity: 1 }])))
    // 202 where the user service was late: the order is decided all the same.
    for (const { status } of placed) expect([201, 202, 422]).toContain(status)
    const states = async () => (await order.db.sql<{ state: string }>('select state from orders where user_id = $1', [id])).map(({ state }) => state)
    const decided = [...Array(6).fill('confirmed'), ...Array(4).fill('rejected')]
    await vi.waitFor(async () => expect((await states()).sort()).toEqual(decided), { timeout: 15_000, interval: 20 })
    expect(await shop.reserved(id)).toBe(6 * 14_900)
  })

  test('rejects the order of a user that the user service no longer knows', async () => {
    const { id, token } = await shop.user.newUser()
    for (const [table, column] of Object.entries({ sessions: 'user_id', credit_accounts: 'user_id', users: 'id' })) {
      await shop.user.db.sql(`delete from ${table} where ${column} = $1`, [id])
    }
    const placed = await order.place(token, CABLE)
    expectProblem(placed, 422, 'unknown-user')
    expect(await shop.state(placed.body.orderId)).toBe('rejected')
  })

  test('an unknown SKU is 404 and leaves neither order nor key', async () => {
    expectProblem(await order.place(customer.token, [...CABLE, { sku: 'iphone-3', quantity: 1 }], 'unknown-sku'), 404, 'unknown-sku')
    expect((await order.place(customer.token, CABLE, 'unknown-sku')).status).toBe(201)
  })

  test('keeps the price of the moment when the product changes', async () => {
    const placed = await order.place(customer.token, [{ sku: 'phone-case', quantity: 3 }])
    await order.db.sql("update products set name = 'Case', price_amount = 9900 where sku = 'phone-case'")
    const found = await order.http('GET', `/orders/${placed.body.id}`, { token: customer.token })
    expect(found.body.items).toEqual([{ sku: 'phone-case', name: 'Phone case', quantity: 3, unitPrice: { amount: 2_900, currency: 'EUR' } }])
    expect(found.body.total).toEqual({ amount: 8_700, currency: 'EUR' })
  })

  test('adds up a SKU that comes twice as two lines', async () => {
    const { id, token } = await shop.user.newUser()
    const placed = await order.place(token, [
      { sku: 'usb-c-cable', quantity: 1 },
      { sku: 'usb-c-cable', quantity: 2 },
    ])
    expect(placed.status).toBe(201)
    expect(placed.body.items.map((item: { quantity: number }) => item.quantity)).toEqual([1, 2])
    expect(placed.body.total.amount).toBe(10_500)
    expect(await shop.reserved(id)).toBe(10_500)
  })

  test('takes 50 lines and a quantity of 1,000', async () => {
    const placed = await order.place(customer.token, [...Array(49).fill(CABLE[0]), { sku: 'usb-c-cable', quantity: 1_000 }])
    expectProblem(placed, 422, 'credit-exceeded')
    const found = await order.http('GET', `/orders/${placed.body.orderId}`, { token: customer.token })
    expect(found.body.total.amount).toBe(1_049 * 3_500)
  })

  test.each([
    ['no items', { items: [] }, 'body.items'],
    ['51 items', { items: Array(51).fill(CABLE[0]) }, 'body.items'],
    ['a quantity of 0', { items: [{ sku: 'usb-c-cable', quantity: 0 }] }, 'body.items.0.quantity'],
    ['a negative quantity', { items: [{ sku: 'usb-c-cable', quantity: -1 }] }, 'body.items.0.quantity'],
    ['a quantity of 1,001', { items: [{ sku: 'usb-c-cable', quantity: 1_001 }] }, 'body.items.0.quantity'],
    ['a quantity of 1.5', { items: [{ sku: 'usb-c-cable', quantity: 1.5 }] }, 'body.items.0.quantity'],
    ['a quantity as text', { items: [{ sku: 'usb-c-cable', quantity: '1' }] }, 'body.items.0.quantity'],
    ['an illegal SKU', { items: [{ sku: 'USB', quantity: 1 }] }, 'body.items.0.sku'],
    ["a price of the caller's", { items: [{ sku: 'usb-c-cable', quantity: 1, unitPrice: 1 }] }, 'body.items.0.unitPrice'],
    ['an unknown member', { items: CABLE, coupon: 'x' }, 'body.coupon'],
    ['no object', CABLE, 'body'],
  ])('refuses %s, naming the field', async (_name, json, field) => {
    const key = newId()
    const reply = await order.http('POST', '/orders', { token: customer.token, json, headers: { 'idempotency-key': key } })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([expect.objectContaining({ field })])
    expect(await order.db.sql('select 1 from idempotency_keys where key = $1', [key])).toEqual([])
  })

  test('asks for an Idempotency-Key', async () => {
    for (const headers of [{}, { 'idempotency-key': '' }] as Record<string, string>[]) {
      expectProblem(await order.http('POST', '/orders', { token: customer.token, json: { items: CABLE }, headers }), 400, 'idempotency-key-required')
    }
  })

  test.each(['with space', 'k'.repeat(256), 'ümlaut', 'tab\there'])('refuses the key %s', async key => {
    const reply = await order.place(customer.token, CABLE, key)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'header.idempotency-key', message: 'is not 1 to 255 visible ASCII characters' }])
  })

  test.each(['!', '~'.repeat(255)])('takes the key %s', async key => {
    const { token } = await shop.user.newUser()
    expect((await order.place(token, CABLE, key)).status).toBe(201)
  })

  test('wants a token', async () => {
    const reply = await order.http('POST', '/orders', { json: { items: CABLE }, headers: { 'idempotency-key': 'anonymous' } })
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
  })

  test("does not take a service's token", async () => {
    const reply = await order.place(shop.user.workloadToken, CABLE)
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead", error="invalid_token"')
  })
})

describe('GET /orders/{id}', () => {
  test("another user's order is 404, as one that never was", async () => {
    const placed = await order.place(customer.token, CABLE)
    const { token } = await shop.user.newUser()
    const theirs = await order.http('GET', `/orders/${placed.body.id}`, { token })
    expectProblem(theirs, 404, 'unknown-order')
    const none = await order.http('GET', `/orders/${newId()}`, { token })
    expectProblem(none, 404, 'unknown-order')
    expect(theirs.body).toEqual(none.body)
  })

  test.each(['1', '00000000-0000-4000-8000-000000000000', '0193A0C2-7B11-7A44-8F0E-2D3C4B5A6978'])('refuses the id %s', async id => {
    const reply = await order.http('GET', `/orders/${id}`, { token: customer.token })
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'path.id', message: 'is not a UUIDv7 in lower case' }])
  })

  test('wants a token', async () => {
    expectProblem(await order.http('GET', `/orders/${newId()}`), 401, 'unauthorized')
  })
})

describe('POST /orders while the user service is away', () => {
  test('answers 202 and confirms the order when the user service is back', async () => {
    const { id, token } = await shop.user.newUser()
    await shop.proxy.down()
    try {
      const placed = await order.place(token, CABLE)
      expect({ status: placed.status, type: placed.type, state: placed.body.state }).toEqual({ status: 202, type: JSON_TYPE, state: 'pending' })
      expect(placed.headers.get('location')).toBe(`/orders/${placed.body.id}`)
      expect(await shop.outbox(placed.body.id)).toBe(1)
      await shop.proxy.up()
      await shop.untilState(placed.body.id, 'confirmed')
      expect(await shop.outbox(placed.body.id)).toBe(0)
      expect(await shop.reserved(id)).toBe(3_500)
    } finally {
      await shop.proxy.up().catch(() => {})
    }
  })

  test('rejects the order later when its credit does not suffice', async () => {
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    const placed = await order.place(customer.token, [{ sku: 'iphone-17-pro', quantity: 1 }])
    expect(placed.status).toBe(202)
    shop.proxy.behave('pass')
    await shop.untilState(placed.body.id, 'rejected')
    expect(await shop.outbox(placed.body.id)).toBe(0)
  })

  test('goes on verifying tokens with the keys seen last', async () => {
    await shop.proxy.down()
    try {
      expect((await order.http('GET', '/orders', { token: customer.token })).status).toBe(200)
    } finally {
      await shop.proxy.up()
    }
  })
})

describe('POST /orders when the call to the user service fails', () => {
  test.each([
    ['never answers', 'hang'],
    ['loses its answer', 'drop'],
    ['refuses our token', { status: 401, code: 'unauthorized' }],
    ['gives up on the body', { status: 408, code: 'request-timeout' }],
    ['asks for patience', { status: 429, code: 'too-many-requests' }],
    ['fails', { status: 500, code: 'internal' }],
    ['is overloaded', { status: 503, code: 'overloaded' }],
    ['is late', { status: 504, code: 'deadline-exceeded' }],
  ] as const)('a callee that %s leads to 202 within the deadline, and the relay confirms', async (_name, behaviour) => {
    const { id, token } = await shop.user.newUser()
    shop.proxy.behave(behaviour)
    const placed = await order.http('POST', '/orders', {
      token,
      json: { items: CABLE },
      headers: { 'idempotency-key': newId(), 'x-request-timeout-ms': '600' },
    })
    expect(placed.status).toBe(202)
    expect(placed.body.state).toBe('pending')
    shop.proxy.behave('pass')
    await shop.untilState(placed.body.id, 'confirmed')
    expect(await shop.reserved(id)).toBe(3_500)
  })

  test.each([
    { status: 400, code: 'invalid-request' },
    { status: 409, code: 'reservation-mismatch' },
  ])('an answer that no repeat can change ($status) parks the message and is logged as an error', async behaviour => {
    shop.proxy.behave(behaviour)
    const placed = await order.place(customer.token, CABLE)
    expect(placed.status).toBe(202)
    const [row] = await order.db.sql('select parked_at is not null as parked, last_error from outbox where subject_id = $1', [placed.body.id])
    expect(row).toEqual({ parked: true, last_error: behaviour.code })
    expect(order.runtime.lines).toContainEqual(
      expect.objectContaining({ level: 'error', subjectId: placed.body.id, reason: behaviour.code, msg: 'outbox message parked' }),
    )
  })

  test('tries again with a new workload token after the old one was refused', async () => {
    let workloadToken = 'expired'
    const other = await startOrderService({
      userHost: `127.0.0.1:${shop.user.port}`,
      userGrpcHost: shop.user.grpcHost,
      workloadToken: () => workloadToken,
    })
    try {
      const placed = await other.place(customer.token, CABLE)
      expect(placed.status).toBe(202)
      workloadToken = shop.user.workloadToken
      await vi.waitFor(
        async () => {
          const found = await other.http('GET', `/orders/${placed.body.id}`, { token: customer.token })
          expect(found.body.state).toBe('confirmed')
        },
        { timeout: 10_000, interval: 20 },
      )
    } finally {
      await other.close()
    }
  })
})

describe('POST /orders and time', () => {
  test('a deadline too short for the order is 504, and repeating with the same key places it once', async () => {
    const { id, token } = await shop.user.newUser()
    const ask = { token, json: { items: CABLE }, headers: { 'idempotency-key': 'short' } }
    expectProblem(await order.http('POST', '/orders', { ...ask, headers: { ...ask.headers, 'x-request-timeout-ms': '1' } }), 504, 'deadline-exceeded')
    await vi.waitFor(async () => expect((await order.http('POST', '/orders', ask)).status).toBe(201), { timeout: 10_000, interval: 50 })
    expect(await order.db.sql('select state from orders where user_id = $1', [id])).toEqual([{ state: 'confirmed' }])
  })

  test('a database that hangs before the commit is 504 and leaves nothing', async () => {
    const { id, token } = await shop.user.newUser()
    const unlock = await shop.lock('idempotency_keys')
    const placed = await order
      .http('POST', '/orders', { token, json: { items: CABLE }, headers: { 'idempotency-key': 'hanging' } })
      // Postgres notices that nobody waits for the statement any more.
      .finally(() => shop.untilNobodyIsBlocked().finally(unlock))
    expectProblem(placed, 504, 'deadline-exceeded')
    expect(await order.db.sql('select 1 from orders where user_id = $1', [id])).toEqual([])
  })

  test('a database that hangs after the commit is 202, and the relay confirms', async () => {
    const { token } = await shop.user.newUser()
    const held = shop.proxy.hold('PUT', 'answer')
    const placing = order.place(token, CABLE)
    await held.arrived
    const unlock = await shop.lock('orders, outbox, idempotency_keys')
    held.release()
    const placed = await placing.finally(unlock)
    expect({ status: placed.status, state: placed.body.state }).toEqual({ status: 202, state: 'pending' })
    await shop.untilState(placed.body.id, 'confirmed')
  })

  test.each([
    ['order-committed', SAGA_CHANNEL],
    ['user.reserveCredit answered', OUTBOX_CHANNEL],
  ])('a machine that stands still at %s until all the time is spent leads to no 504', async (step, channel) => {
    const { token } = await shop.user.newUser()
    const standStill = (passed: unknown) => {
      if (passed !== step) return
      unsubscribe(channel, standStill)
      const until = performance.now() + 600
      while (performance.now() < until);
    }
    subscribe(channel, standStill)
    const placed = await order
      .http('POST', '/orders', {
        token,
        json: { items: CABLE },
        headers: { 'idempotency-key': `still-${step.replace(' ', '-')}`, 'x-request-timeout-ms': '550' },
      })
      .finally(() => unsubscribe(channel, standStill))
    expect({ status: placed.status, state: placed.body.state }).toEqual({ status: 202, state: 'pending' })
    await shop.untilState(placed.body.id, 'confirmed')
  })

  test('a machine that stands still once the order is settled gives the answer that is stored', async () => {
    const { token } = await shop.user.newUser()
    const standStill = (passed: unknown) => {
      if (passed !== 'user.reserveCredit committed') return
      unsubscribe(OUTBOX_CHANNEL, standStill)
      const until = performance.now() + 600
      while (performance.now() < until);
    }
    subscribe(OUTBOX_CHANNEL, standStill)
    const ask = { token, json: { items: CABLE }, headers: { 'idempotency-key': 'still-committed' } }
    const placed = await order
      .http('POST', '/orders', { ...ask, headers: { ...ask.headers, 'x-request-timeout-ms': '550' } })
      .finally(() => unsubscribe(OUTBOX_CHANNEL, standStill))
    expect({ status: placed.status, state: placed.body.state }).toEqual({ status: 201, state: 'confirmed' })
    expect(await order.http('POST', '/orders', ask)).toMatchObject({ status: 201, body: placed.body })
  })

  test('timers that fire out of order change nothing: 202, and no other answer is stored behind its back', async () => {
    // Requests with one budget share Node's list of timers, which is run as a whole when the oldest of them is due.
    const [older, newer] = [await shop.user.newUser(), await shop.user.newUser()]
    const post = ({ token }: { token: string }, key: string) =>
      order.http('POST', '/orders', { token, json: { items: CABLE }, headers: { 'idempotency-key': key, 'x-request-timeout-ms': '550' } })
    const held = shop.proxy.hold('PUT', 'request')
    const first = post(older, 'older')
    await held.arrived
    await pause(100)
    const untilThen = order.runtime.lines.length
    const standStill = (passed: unknown) => {
      if (passed !== 'user.reserveCredit answered') return
      unsubscribe(OUTBOX_CHANNEL, standStill)
      const until = performance.now() + 600
      while (performance.now() < until);
    }
    subscribe(OUTBOX_CHANNEL, standStill)
    const placed = await post(newer, 'newer').finally(() => unsubscribe(OUTBOX_CHANNEL, standStill))
    held.release()
    await first
    expect({ status: placed.status, state: placed.body.state }).toEqual({ status: 202, state: 'pending' })
    expect(order.runtime.lines.slice(untilThen).filter(({ msg }) => msg === 'request failed')).toEqual([])
    expect(await order.db.sql('select answer_status from idempotency_keys where owner = $1', [newer.id])).not.toEqual([{ answer_status: 201 }])
    await shop.untilState(placed.body.id, 'confirmed')
  })

  test('a caller that leaves after the commit does not stop its order', async () => {
    const { id, token } = await shop.user.newUser()
    const held = shop.proxy.hold('PUT', 'request')
    const caller = new AbortController()
    const placing = fetch(`${order.url}/orders`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'left' },
      body: JSON.stringify({ items: CABLE }),
      signal: caller.signal,
    })
    await held.arrived
    caller.abort()
    await expect(placing).rejects.toThrow()
    const callsBefore = shop.proxy.calls.length
    held.release()
    const [row] = await order.db.sql<{ id: string }>('select id from orders where user_id = $1', [id])
    await shop.untilState(row?.id as string, 'confirmed')
    expect(shop.proxy.calls.slice(callsBefore).filter(call => call.endsWith(row?.id as string))).toEqual([])
  })
})

describe('the order service before it has the keys of tokens', () => {
  let early: TestOrderService
  beforeAll(async () => {
    early = await startOrderService({ userHost: '127.0.0.1:1', workloadToken: 'none', awaitKeys: false, relay: false })
  })
  afterAll(() => early?.close())

  test('is 503 with Retry-After for a good token, never 401', async () => {
    const reply = await early.place(customer.token, CABLE)
    expectProblem(reply, 503, 'unavailable')
    expect(reply.headers.get('retry-after')).toBe('1')
  })

  test('is 401 without a token, and serves products', async () => {
    expectProblem(await early.http('GET', '/orders'), 401, 'unauthorized')
    expect((await early.http('GET', '/products')).status).toBe(200)
  })
})
