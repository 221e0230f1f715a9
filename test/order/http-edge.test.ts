import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Shop, startShop } from '../shop/support/shop.ts'
import { expectProblem } from '../support/http.ts'

// What the other files hold the edge by gRPC to, in short.
const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]

let shop: Shop

beforeAll(async () => {
  shop = await startShop({ protocol: 'http' })
})
afterEach(() => shop.proxy.behave('pass'))
afterAll(() => shop?.close())

describe('order with its edge to user by HTTP', () => {
  test('confirms an order, and gives its credit back when it is cancelled', async () => {
    const { id, token } = await shop.user.newUser()
    const placed = await shop.order.place(token, CABLE)
    expect(placed).toMatchObject({ status: 201, body: { state: 'confirmed' } })
    expect(shop.proxy.calls.at(-1)).toBe(`PUT ${placed.body.id}`)
    expect(await shop.reserved(id)).toBe(3_500)
    expect(await shop.order.http('POST', `/orders/${placed.body.id}/cancellation`, { token })).toMatchObject({ status: 200 })
    expect(await shop.reserved(id)).toBe(0)
  })

  test('rejects an order over the credit', async () => {
    const { token } = await shop.user.newUser()
    const placed = await shop.order.place(token, [{ sku: 'iphone-17-pro', quantity: 1 }])
    expectProblem(placed, 422, 'credit-exceeded')
  })

  test('takes a conflict for final by its code: an order that was released stays as it is', async () => {
    const { token } = await shop.user.newUser()
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    const placed = await shop.order.place(token, CABLE)
    expect(placed.status).toBe(202)
    await shop.order.http('POST', `/orders/${placed.body.id}/cancellation`, { token })
    shop.proxy.behave('pass')
    await shop.untilState(placed.body.id, 'cancelled')
  })

  test.each(['hang', 'drop'] as const)('answers 202 where the user service %ss its answer, and confirms the order once', async behaviour => {
    const { id, token } = await shop.user.newUser()
    shop.proxy.behave(behaviour)
    const placed = await shop.order.place(token, CABLE)
    expect(placed.status).toBe(202)
    shop.proxy.behave('pass')
    await shop.untilState(placed.body.id, 'confirmed')
    expect(await shop.reserved(id)).toBe(3_500)
  })

  test('answers 202 while the user service is away, and confirms the order when it is back', async () => {
    const { token } = await shop.user.newUser()
    await shop.proxy.down()
    const placed = await shop.order.place(token, CABLE)
    await shop.proxy.up()
    expect(placed.status).toBe(202)
    await shop.untilState(placed.body.id, 'confirmed')
  })
})
