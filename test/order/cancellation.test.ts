import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { type Shop, startShop } from '../shop/support/shop.ts'
import { expectProblem } from '../support/http.ts'

const JSON_TYPE = 'application/json; charset=utf-8'
const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]

let shop: Shop

beforeAll(async () => {
  shop = await startShop()
})
afterEach(() => shop.proxy.behave('pass'))
afterAll(() => shop?.close())

const cancel = (token: string, id: string) => shop.order.http('POST', `/orders/${id}/cancellation`, { token })
const only = async (userId: string) =>
  (await shop.order.db.sql<{ id: string }>('select id from orders where user_id = $1', [userId]))[0]?.id as string

describe('POST /orders/{id}/cancellation', () => {
  test('cancels a confirmed order and gives its credit back', async () => {
    const { id, token } = await shop.user.newUser()
    const kept = await shop.order.place(token, CABLE)
    const placed = await shop.order.place(token, [{ sku: 'airpods-4', quantity: 1 }])
    const cancelled = await cancel(token, placed.body.id)
    expect({ status: cancelled.status, type: cancelled.type }).toEqual({ status: 200, type: JSON_TYPE })
    expect(cancelled.body).toEqual({ ...placed.body, state: 'cancelled' })
    expect(await shop.reserved(id)).toBe(3_500)
    expect(await shop.state(kept.body.id)).toBe('confirmed')
    expect(await shop.outbox(placed.body.id)).toBe(0)
  })

  test('may be repeated', async () => {
    const { id, token } = await shop.user.newUser()
    const placed = await shop.order.place(token, CABLE)
    const first = await cancel(token, placed.body.id)
    const callsBefore = shop.proxy.calls.length
    const again = await cancel(token, placed.body.id)
    expect({ status: again.status, body: again.body }).toEqual({ status: 200, body: first.body })
    expect(shop.proxy.calls).toHaveLength(callsBefore)
    expect(await shop.reserved(id)).toBe(0)
  })

  test('sent ten times at once releases the credit once', async () => {
    const { id, token } = await shop.user.newUser()
    await shop.order.place(token, CABLE)
    const placed = await shop.order.place(token, CABLE)
    const replies = await Promise.all(Array.from({ length: 10 }, () => cancel(token, placed.body.id)))
    for (const { status, body } of replies) expect([200, 202]).toContain(status * Number(body.id === placed.body.id))
    await shop.untilState(placed.body.id, 'cancelled')
    expect(await shop.reserved(id)).toBe(3_500)
  })

  test('makes room for another order', async () => {
    const { token } = await shop.user.newUser()
    const placed = await shop.order.place(token, [{ sku: 'iphone-17', quantity: 1 }])
    expectProblem(await shop.order.place(token, [{ sku: 'airpods-4', quantity: 1 }]), 422, 'credit-exceeded')
    await cancel(token, placed.body.id)
    expect((await shop.order.place(token, [{ sku: 'airpods-4', quantity: 1 }])).status).toBe(201)
  })

  test('cancels a pending order, which then never reserves', async () => {
    const { id, token } = await shop.user.newUser()
    shop.proxy.behave({ status: 409, code: 'reservation-mismatch' })
    const placed = await shop.order.place(token, CABLE)
    expect(placed.body.state).toBe('pending')
    shop.proxy.behave('pass')
    const cancelled = await cancel(token, placed.body.id)
    expect({ status: cancelled.status, state: cancelled.body.state }).toEqual({ status: 200, state: 'cancelled' })
    expect(await shop.outbox(placed.body.id)).toBe(0)
    expect(await shop.reserved(id)).toBe(0)
    const reservations = await shop.user.db.sql('select state from reservations where order_id = $1', [placed.body.id])
    expect(reservations).toEqual([{ state: 'released' }])
  })

  test('answers 202 while the user service is away, once or many times, and is done when it is back', async () => {
    const { id, token } = await shop.user.newUser()
    const placed = await shop.order.place(token, CABLE)
    await shop.proxy.down()
    try {
      const first = await cancel(token, placed.body.id)
      expect({ status: first.status, type: first.type }).toEqual({ status: 202, type: JSON_TYPE })
      expect(first.body).toEqual({ ...placed.body, state: 'cancelling' })
      const again = await cancel(token, placed.body.id)
      expect({ status: again.status, body: again.body }).toEqual({ status: 202, body: first.body })
      expect(await shop.outbox(placed.body.id)).toBe(1)
      expect(await shop.reserved(id)).toBe(3_500)
    } finally {
      await shop.proxy.up()
    }
    await shop.untilState(placed.body.id, 'cancelled')
    expect(await shop.reserved(id)).toBe(0)
    expect(await shop.outbox(placed.body.id)).toBe(0)
    expect((await cancel(token, placed.body.id)).status).toBe(200)
  })

  test.each([
    ['hangs', 'hang'],
    ['loses its answer', 'drop'],
    ['refuses our token', { status: 401, code: 'unauthorized' }],
    ['fails', { status: 500, code: 'internal' }],
  ] as const)('is 202 within the deadline when the user service %s, and done later', async (_name, behaviour) => {
    const { id, token } = await shop.user.newUser()
    const placed = await shop.order.place(token, CABLE)
    shop.proxy.behave(behaviour)
    const reply = await shop.order.http('POST', `/orders/${placed.body.id}/cancellation`, { token, headers: { 'x-request-timeout-ms': '600' } })
    expect({ status: reply.status, state: reply.body.state }).toEqual({ status: 202, state: 'cancelling' })
    shop.proxy.behave('pass')
    await shop.untilState(placed.body.id, 'cancelled')
    expect(await shop.reserved(id)).toBe(0)
  })

  test('of a rejected order is 409', async () => {
    const { token } = await shop.user.newUser()
    const placed = await shop.order.place(token, [{ sku: 'iphone-17-pro', quantity: 1 }])
    expectProblem(await cancel(token, placed.body.orderId), 409, 'not-cancellable')
    expect(await shop.state(placed.body.orderId)).toBe('rejected')
  })

  test("of another user's order is 404 and changes nothing", async () => {
    const [one, two] = [await shop.user.newUser(), await shop.user.newUser()]
    const placed = await shop.order.place(one.token, CABLE)
    expectProblem(await cancel(two.token, placed.body.id), 404, 'unknown-order')
    expect(await shop.state(placed.body.id)).toBe('confirmed')
  })

  test('of an unknown order is 404, of an illegal id 400, without a token 401', async () => {
    const { token } = await shop.user.newUser()
    expectProblem(await cancel(token, newId()), 404, 'unknown-order')
    expectProblem(await cancel(token, 'mine'), 400, 'invalid-request')
    expectProblem(await shop.order.http('POST', `/orders/${newId()}/cancellation`), 401, 'unauthorized')
  })

  test('counts the order as cancelled once', async () => {
    const { token } = await shop.user.newUser()
    const placed = await shop.order.place(token, CABLE)
    const series = 'orders_total{state="cancelled"}'
    const before = await shop.order.runtime.metric(series)
    await cancel(token, placed.body.id)
    await cancel(token, placed.body.id)
    expect(await shop.order.runtime.metric(series)).toBe(before + 1)
  })
})

describe('POST /orders/{id}/cancellation while the reservation is under way', () => {
  test('wins over a reservation that arrives after the release', async () => {
    const { id, token } = await shop.user.newUser()
    const before = await shop.order.runtime.metric('orders_total{state="cancelled"}')
    const held = shop.proxy.hold('PUT', 'request')
    const placing = shop.order.place(token, CABLE)
    await held.arrived
    const orderId = await only(id)
    const cancelled = await cancel(token, orderId)
    expect({ status: cancelled.status, state: cancelled.body.state }).toEqual({ status: 200, state: 'cancelled' })
    held.release()
    expect(await placing).toMatchObject({ status: 201, body: { id: orderId, state: 'cancelled' } })
    expect(await shop.state(orderId)).toBe('cancelled')
    expect(await shop.reserved(id)).toBe(0)
    expect(await shop.outbox(orderId)).toBe(0)
    expect(await shop.order.runtime.metric('orders_total{state="cancelled"}')).toBe(before + 1)
  })

  test('wins over a reservation whose answer comes after the release', async () => {
    const { id, token } = await shop.user.newUser()
    const held = shop.proxy.hold('PUT', 'answer')
    const placing = shop.order.place(token, CABLE)
    await held.arrived
    const orderId = await only(id)
    expect(await shop.reserved(id)).toBe(3_500)
    expect((await cancel(token, orderId)).status).toBe(200)
    held.release()
    await placing
    expect(await shop.state(orderId)).toBe('cancelled')
    expect(await shop.reserved(id)).toBe(0)
    expect(await shop.outbox(orderId)).toBe(0)
  })

  test('holds while its release is slower than the answer of the reservation', async () => {
    const { id, token } = await shop.user.newUser()
    const [reservation, release] = [shop.proxy.hold('PUT', 'answer'), shop.proxy.hold('DELETE', 'request')]
    const placing = shop.order.place(token, CABLE)
    await reservation.arrived
    const orderId = await only(id)
    const cancelling = cancel(token, orderId)
    await release.arrived
    reservation.release()
    expect(await placing).toMatchObject({ status: 202, body: { id: orderId, state: 'cancelling' } })
    expect(await cancel(token, orderId)).toMatchObject({ status: 202, body: { state: 'cancelling' } })
    expect(await shop.outbox(orderId)).toBe(1)
    release.release()
    expect(await cancelling).toMatchObject({ status: 200, body: { state: 'cancelled' } })
    expect(await shop.reserved(id)).toBe(0)
  })
})
