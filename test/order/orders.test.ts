import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectProblem } from '../support/http.ts'
import { startOrderService, type TestOrderService } from '../support/order-service.ts'
import { startUserService, type TestUserService } from '../support/user-service.ts'

let user: TestUserService
let order: TestOrderService

beforeAll(async () => {
  user = await startUserService()
  order = await startOrderService({ userHost: `127.0.0.1:${user.port}`, workloadToken: user.workloadToken })
})
afterAll(async () => {
  await order?.close()
  await user?.close()
})

describe('POST /orders', () => {
  test('confirms an order within the credit and reserves its total', async () => {
    const { token } = await user.newUser()
    const placed = await order.place(token, [{ sku: 'airpods-4', quantity: 2 }])
    expect(placed.status).toBe(201)
    expect(placed.body).toMatchObject({ state: 'confirmed', total: { amount: 29_800, currency: 'EUR' } })
    expect(placed.headers.get('location')).toBe(`/orders/${placed.body.id}`)
    const credit = await user.http('GET', '/users/me/credit', { token })
    expect(credit.body).toEqual({
      limit: { amount: 100_000, currency: 'EUR' },
      reserved: { amount: 29_800, currency: 'EUR' },
      available: { amount: 70_200, currency: 'EUR' },
    })
  })

  test('rejects an order over the credit with the id of the order', async () => {
    const { token } = await user.newUser()
    const placed = await order.place(token, [{ sku: 'iphone-17-pro', quantity: 1 }])
    expectProblem(placed, 422, 'credit-exceeded')
    const found = await order.http('GET', `/orders/${placed.body.orderId}`, { token })
    expect(found.body).toMatchObject({ state: 'rejected', rejection: { code: 'credit-exceeded' } })
  })
})
