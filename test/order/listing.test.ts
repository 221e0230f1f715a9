import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { encodeCursor } from '../../services/chassis/contract/page.ts'
import { type Customer, type Shop, startShop } from '../shop/support/shop.ts'
import { expectProblem } from '../support/http.ts'

let shop: Shop

beforeAll(async () => {
  shop = await startShop({ relay: false })
})
afterAll(() => shop?.close())

/** Orders without their saga: a list needs no more. @returns their ids, newest first */
async function write(customer: Customer, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, newId)
  await shop.order.db.sql(
    `insert into orders (id, user_id, state, items, total_amount, currency) select id, $2, 'confirmed', '[]', 0, 'EUR' from unnest($1::uuid[]) id`,
    [ids, customer.id],
  )
  return ids.reverse()
}

const list = (customer: Customer, query = '') => shop.order.http('GET', `/orders${query}`, { token: customer.token })
const idsOf = ({ body }: Awaited<ReturnType<typeof list>>): string[] => body.orders.map((order: { id: string }) => order.id)

describe('GET /orders', () => {
  test('lists what was placed as it was answered, newest first', async () => {
    const customer = await shop.user.newUser()
    const first = await shop.order.place(customer.token, [{ sku: 'usb-c-cable', quantity: 1 }])
    const second = await shop.order.place(customer.token, [{ sku: 'iphone-17-pro', quantity: 1 }])
    const { status, type, body } = await list(customer)
    expect({ status, type }).toEqual({ status: 200, type: 'application/json; charset=utf-8' })
    expect(body).toEqual({
      orders: [expect.objectContaining({ id: second.body.orderId, state: 'rejected', rejection: { code: 'credit-exceeded' } }), first.body],
    })
  })

  test('is empty for a user without orders', async () => {
    expect((await list(await shop.user.newUser())).body).toEqual({ orders: [] })
  })

  test('holds the orders of its user alone', async () => {
    const [one, two] = [await shop.user.newUser(), await shop.user.newUser()]
    const mine = await write(one, 2)
    await write(two, 2)
    expect(idsOf(await list(one))).toEqual(mine)
  })

  test('gives 20 by default', async () => {
    const customer = await shop.user.newUser()
    const ids = await write(customer, 21)
    const page = await list(customer)
    expect(idsOf(page)).toEqual(ids.slice(0, 20))
    expect(idsOf(await list(customer, `?cursor=${page.body.nextCursor}`))).toEqual(ids.slice(20))
  })

  test('takes a limit from 1 to 100', async () => {
    const customer = await shop.user.newUser()
    const ids = await write(customer, 101)
    expect(idsOf(await list(customer, '?limit=1'))).toEqual(ids.slice(0, 1))
    expect(idsOf(await list(customer, '?limit=100'))).toEqual(ids.slice(0, 100))
  })

  test('has each order on one page, and the last page has no cursor', async () => {
    const customer = await shop.user.newUser()
    const ids = await write(customer, 7)
    const pages: string[][] = []
    let cursor: string | undefined
    do {
      const page = await list(customer, `?limit=3${cursor ? `&cursor=${cursor}` : ''}`)
      expect(page.status).toBe(200)
      pages.push(idsOf(page))
      cursor = page.body.nextCursor
    } while (cursor)
    expect(pages.map(page => page.length)).toEqual([3, 3, 1])
    expect(pages.flat()).toEqual(ids)
  })

  test('has no cursor when the last page is full', async () => {
    const customer = await shop.user.newUser()
    const ids = await write(customer, 4)
    const first = await list(customer, '?limit=2')
    const last = await list(customer, `?limit=2&cursor=${first.body.nextCursor}`)
    expect(idsOf(last)).toEqual(ids.slice(2))
    expect('nextCursor' in last.body).toBe(false)
  })

  test('goes on where a page ended when orders came meanwhile', async () => {
    const customer = await shop.user.newUser()
    const ids = await write(customer, 4)
    const first = await list(customer, '?limit=2')
    const newer = await write(customer, 3)
    expect(idsOf(await list(customer, `?limit=2&cursor=${first.body.nextCursor}`))).toEqual(ids.slice(2))
    expect(idsOf(await list(customer, '?limit=3'))).toEqual(newer)
  })

  test("shows nothing of another user through that user's cursor", async () => {
    const [one, two] = [await shop.user.newUser(), await shop.user.newUser()]
    const mine = await write(one, 1)
    await write(two, 3)
    const { nextCursor } = (await list(two, '?limit=1')).body
    expect(idsOf(await list(one, `?cursor=${nextCursor}`))).toEqual(mine)
  })

  test.each(['0', '101', '1000', '-1', '1.5', '01', '1e1', '', 'ten', '%201'])('refuses the limit "%s"', async limit => {
    const reply = await list(await customerOnce(), `?limit=${limit}`)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'query.limit', message: 'is not a whole number from 1 to 100' }])
  })

  test.each([
    ['empty', ''],
    ['too short', encodeCursor(newId()).slice(1)],
    ['too long', `${encodeCursor(newId())}A`],
    ['an id', newId()],
    ['of no UUIDv7', encodeCursor('00000000-0000-4000-8000-000000000000')],
    ['not canonical', `${encodeCursor(newId()).slice(0, -1)}B`],
    ['SQL', "';drop table orders"],
  ])('refuses a cursor that is %s', async (_name, cursor) => {
    const reply = await list(await customerOnce(), `?cursor=${encodeURIComponent(cursor)}`)
    expectProblem(reply, 400, 'invalid-request')
    expect(reply.body.errors).toEqual([{ field: 'query.cursor', message: 'is not a cursor that this service made' }])
  })

  test.each(['?limit=1&limit=2', '?state=pending', '?cursor=a&cursor=b', '?page=2'])('refuses the query %s', async query => {
    expectProblem(await list(await customerOnce(), query), 400, 'invalid-request')
  })

  test('wants a token', async () => {
    const reply = await shop.order.http('GET', '/orders')
    expectProblem(reply, 401, 'unauthorized')
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="fairlead"')
  })
})

let known: Promise<Customer> | undefined
const customerOnce = () => {
  known ??= shop.user.newUser()
  return known
}
