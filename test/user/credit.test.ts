import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { euros } from '../../services/money.ts'
import { startUserService, type TestUserService } from '../shop/support/user-service.ts'
import { expectProblem } from '../support/http.ts'

let user: TestUserService

beforeAll(async () => {
  user = await startUserService({ creditLimit: 75_000 })
})
afterAll(() => user?.close())

const credit = (token: string) => user.http('GET', '/users/me/credit', { token })
const reserve = (userId: string, amount: number, orderId = newId()) =>
  user.http('PUT', `/reservations/${orderId}`, { token: user.workloadToken, json: { userId, total: euros(amount) } })

describe('GET /users/me/credit', () => {
  test('of a new user is the limit of the setting', async () => {
    const { token } = await user.newUser()
    const reply = await credit(token)
    expect({ status: reply.status, type: reply.type }).toEqual({ status: 200, type: expect.stringMatching(/^application\/json\b/) })
    expect(reply.body).toEqual({ limit: euros(75_000), reserved: euros(0), available: euros(75_000) })
  })

  test('tells what orders hold and what is left, and has it back after a release', async () => {
    const { id, token } = await user.newUser()
    const orderId = newId()
    await reserve(id, 20_000, orderId)
    await reserve(id, 5_000)
    expect((await credit(token)).body).toEqual({ limit: euros(75_000), reserved: euros(25_000), available: euros(50_000) })
    await user.http('DELETE', `/reservations/${orderId}`, { token: user.workloadToken })
    expect((await credit(token)).body).toEqual({ limit: euros(75_000), reserved: euros(5_000), available: euros(70_000) })
  })

  test('a refused order holds nothing', async () => {
    const { id, token } = await user.newUser()
    expectProblem(await reserve(id, 75_001), 422, 'credit-exceeded')
    expect((await credit(token)).body.reserved).toEqual(euros(0))
  })

  test("is each user's own", async () => {
    const [first, second] = [await user.newUser(), await user.newUser()]
    await reserve(first.id, 1_000)
    expect((await credit(second.token)).body.reserved).toEqual(euros(0))
  })

  test('without a token, or with the token of a workload, is 401', async () => {
    expectProblem(await user.http('GET', '/users/me/credit'), 401, 'unauthorized')
    expectProblem(await credit(user.workloadToken), 401, 'unauthorized')
  })
})
