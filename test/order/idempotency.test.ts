import { Agent } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../services/chassis/contract/ids.ts'
import { type Shop, startShop } from '../shop/support/shop.ts'
import { expectProblem, type Reply } from '../support/http.ts'

const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]
const TOO_DEAR = [{ sku: 'iphone-17-pro', quantity: 1 }]

let shop: Shop

beforeAll(async () => {
  shop = await startShop()
})
afterEach(() => shop.proxy.behave('pass'))
afterAll(() => shop?.close())

const place = (token: string, key: string, items: unknown = CABLE) =>
  shop.order.http('POST', '/orders', { token, json: { items }, headers: { 'idempotency-key': key } })

const ordersOf = (userId: string) => shop.order.db.sql('select id from orders where user_id = $1', [userId])

function expectReplay(reply: Reply, first: Reply): void {
  const seen = ({ status, type, body, headers }: Reply) => ({ status, type, body, location: headers.get('location') })
  expect(seen(reply)).toEqual(seen(first))
  expect(first.headers.get('idempotency-replayed')).toBeNull()
  expect(reply.headers.get('idempotency-replayed')).toBe('true')
}

/** As if the process had died before it answered, and its time were over. */
const forgetAnswer = (key: string) =>
  shop.order.db.sql(
    `update idempotency_keys set answer_status = null, answer_body = null, answer_location = null, alive_until = now() - interval '1 second'
     where key = $1`,
    [key],
  )

describe('POST /orders again with the same Idempotency-Key', () => {
  test('gives the 201 again, byte by byte, and places nothing', async () => {
    const { id, token } = await shop.user.newUser()
    const ask = () =>
      fetch(`${shop.order.url}/orders`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'same' },
        body: JSON.stringify({ items: CABLE }),
      })
    const [first, again, third] = [await ask(), await ask(), await ask()]
    const text = await first.text()
    expect([first.status, again.status, third.status]).toEqual([201, 201, 201])
    expect([await again.text(), await third.text()]).toEqual([text, text])
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'))
    expect([first, again, third].map(({ headers }) => headers.get('idempotency-replayed'))).toEqual([null, 'true', 'true'])
    expect(await ordersOf(id)).toHaveLength(1)
    expect(await shop.reserved(id)).toBe(3_500)
  })

  test('takes another member order and other white space as the same body', async () => {
    const { token } = await shop.user.newUser()
    const send = (raw: string) =>
      shop.order.http('POST', '/orders', { token, raw, headers: { 'content-type': 'application/json', 'idempotency-key': 'canonical' } })
    const first = await send('{"items":[{"sku":"usb-c-cable","quantity":1}]}')
    expect(first.status).toBe(201)
    expectReplay(await send('{ "items" : [\n\t{ "quantity": 1.0, "sku": "usb-c\\u002dcable" } ] }'), first)
  })

  test('gives the 422 again, with the order that was rejected then, although credit would suffice now', async () => {
    const { id, token } = await shop.user.newUser()
    const first = await place(token, 'refused', TOO_DEAR)
    expectProblem(first, 422, 'credit-exceeded')
    await shop.user.db.sql('update credit_accounts set limit_amount = 1000000 where user_id = $1', [id])
    expectReplay(await place(token, 'refused', TOO_DEAR), first)
    expect(await ordersOf(id)).toHaveLength(1)
  })

  test('gives the 202 again after the order is confirmed', async () => {
    const { token } = await shop.user.newUser()
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    const first = await place(token, 'taken')
    expect(first.status).toBe(202)
    expectReplay(await place(token, 'taken'), first)
    shop.proxy.behave('pass')
    await shop.untilState(first.body.id, 'confirmed')
    expectReplay(await place(token, 'taken'), first)
  })

  test('gives the first answer after a cancellation', async () => {
    const { token } = await shop.user.newUser()
    const first = await place(token, 'cancelled')
    await shop.order.http('POST', `/orders/${first.body.id}/cancellation`, { token })
    expect(await shop.state(first.body.id)).toBe('cancelled')
    const again = await place(token, 'cancelled')
    expectReplay(again, first)
    expect(again.body.state).toBe('confirmed')
  })

  test('and another body is 422, whatever became of the first', async () => {
    const { id, token } = await shop.user.newUser()
    await place(token, 'reused')
    for (const items of [[{ sku: 'usb-c-cable', quantity: 2 }], [...CABLE, ...CABLE], [{ sku: 'iphone-3', quantity: 1 }]]) {
      expectProblem(await place(token, 'reused', items), 422, 'idempotency-key-reused')
    }
    expect(await ordersOf(id)).toHaveLength(1)
  })

  test('belongs to its user alone', async () => {
    const [one, two] = [await shop.user.newUser(), await shop.user.newUser()]
    const first = await place(one.token, 'shared')
    const second = await place(two.token, 'shared', [{ sku: 'phone-case', quantity: 1 }])
    expect(second.status).toBe(201)
    expect(second.headers.has('idempotency-replayed')).toBe(false)
    expect(second.body.id).not.toBe(first.body.id)
  })

  test('is a new request after 24 hours', async () => {
    const { id, token } = await shop.user.newUser()
    await place(token, 'old')
    await shop.order.db.sql("update idempotency_keys set created_at = now() - interval '24 hours 1 minute' where key = 'old'")
    const fresh = await place(token, 'old', [{ sku: 'phone-case', quantity: 1 }])
    expect(fresh.status).toBe(201)
    expect(fresh.headers.has('idempotency-replayed')).toBe(false)
    expect(await ordersOf(id)).toHaveLength(2)
    expectReplay(await place(token, 'old', [{ sku: 'phone-case', quantity: 1 }]), fresh)
  })

  test('is the same request before 24 hours', async () => {
    const { token } = await shop.user.newUser()
    const first = await place(token, 'day')
    await shop.order.db.sql("update idempotency_keys set created_at = now() - interval '23 hours 59 minutes' where key = 'day'")
    expectReplay(await place(token, 'day'), first)
  })
})

describe('POST /orders while the first request with the key is under way', () => {
  test('is 409 with Retry-After until it has answered', async () => {
    const { id, token } = await shop.user.newUser()
    const held = shop.proxy.hold('PUT', 'request')
    const placing = place(token, 'in-flight')
    await held.arrived
    const meanwhile = await place(token, 'in-flight')
    expectProblem(meanwhile, 409, 'idempotency-conflict')
    expect(meanwhile.headers.get('retry-after')).toBe('1')
    held.release()
    const first = await placing
    expect(first.status).toBe(201)
    expectReplay(await place(token, 'in-flight'), first)
    expect(await ordersOf(id)).toHaveLength(1)
  })

  test('and another body is 422 even then', async () => {
    const { token } = await shop.user.newUser()
    const held = shop.proxy.hold('PUT', 'request')
    const placing = place(token, 'in-flight-2')
    await held.arrived
    expectProblem(await place(token, 'in-flight-2', TOO_DEAR), 422, 'idempotency-key-reused')
    held.release()
    expect((await placing).status).toBe(201)
  })

  test('is 409 before the first request has committed', async () => {
    const { id, token } = await shop.user.newUser()
    // Holds the statement up where it records the key, which it has locked by then.
    const unlock = await shop.lockWith(
      `insert into idempotency_keys (owner, key, fingerprint, subject_id, alive_until) values ('${id}', 'uncommitted', '', gen_random_uuid(), now())`,
    )
    const placing = place(token, 'uncommitted')
    await shop.untilBlocked()
    expectProblem(await place(token, 'uncommitted'), 409, 'idempotency-conflict')
    await unlock()
    expect((await placing).status).toBe(201)
    expect(await ordersOf(id)).toHaveLength(1)
  })
})

describe('POST /orders when the first request with the key died', () => {
  test('stores and gives the present state of its order', async () => {
    const { id, token } = await shop.user.newUser()
    const lost = await place(token, 'died')
    await forgetAnswer('died')
    const first = await place(token, 'died')
    expect(first.status).toBe(201)
    expect(first.headers.get('idempotency-replayed')).toBe('true')
    expect(first.headers.get('location')).toBe(`/orders/${lost.body.id}`)
    expect(first.body).toEqual(lost.body)
    await shop.order.http('POST', `/orders/${lost.body.id}/cancellation`, { token })
    const again = await place(token, 'died')
    expect(again).toMatchObject({ status: 201, body: first.body })
    expect(await ordersOf(id)).toHaveLength(1)
  })

  test('stores and gives a 202 while the order is pending, and keeps to it', async () => {
    const { token } = await shop.user.newUser()
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    const lost = await place(token, 'died-pending')
    await forgetAnswer('died-pending')
    const first = await place(token, 'died-pending')
    expect(first).toMatchObject({ status: 202, body: { id: lost.body.id, state: 'pending' } })
    shop.proxy.behave('pass')
    await shop.untilState(lost.body.id, 'confirmed')
    expect(await place(token, 'died-pending')).toMatchObject({ status: 202, body: first.body })
  })

  test('stores and gives a 422 when the order was rejected', async () => {
    const { token } = await shop.user.newUser()
    const lost = await place(token, 'died-rejected', TOO_DEAR)
    await forgetAnswer('died-rejected')
    const first = await place(token, 'died-rejected', TOO_DEAR)
    expectProblem(first, 422, 'credit-exceeded')
    expect(first.body).toEqual(lost.body)
    expect(first.headers.get('idempotency-replayed')).toBe('true')
  })

  test('stores and gives a cancelled order as it is', async () => {
    const { token } = await shop.user.newUser()
    const lost = await place(token, 'died-cancelled')
    await shop.order.http('POST', `/orders/${lost.body.id}/cancellation`, { token })
    await forgetAnswer('died-cancelled')
    expect(await place(token, 'died-cancelled')).toMatchObject({ status: 201, body: { id: lost.body.id, state: 'cancelled' } })
  })

  test('is 409 while the dead request may still be alive', async () => {
    const { token } = await shop.user.newUser()
    await place(token, 'alive')
    await forgetAnswer('alive')
    await shop.order.db.sql("update idempotency_keys set alive_until = now() + interval '1 minute' where key = 'alive'")
    const reply = await place(token, 'alive')
    expectProblem(reply, 409, 'idempotency-conflict')
    expect(reply.headers.get('retry-after')).toBe('1')
  })

  test('lets one repeat decide the answer while others get 409, until it is stored', async () => {
    const { token } = await shop.user.newUser()
    const lost = await place(token, 'died-late')
    await forgetAnswer('died-late')
    const unlock = await shop.lockWith("select 1 from idempotency_keys where key = 'died-late' for update")
    const deciding = place(token, 'died-late')
    await shop.untilBlocked()
    expectProblem(await place(token, 'died-late'), 409, 'idempotency-conflict')
    await unlock()
    expect(await deciding).toMatchObject({ status: 201, body: lost.body })
  })
})

describe('1,000 requests at once with one key', () => {
  test('place one order; each is answered as the first or told to come back', { timeout: 120_000 }, async () => {
    const { id, token } = await shop.user.newUser()
    const key = newId()
    const agent = new Agent({ connections: 1_000, pipelining: 0, connect: { timeout: 60_000 } })
    const ask = async () => {
      const { statusCode, headers, body } = await agent.request({
        origin: shop.order.url,
        path: '/orders',
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify({ items: CABLE }),
      })
      return { status: statusCode, headers, text: await body.text() }
    }
    const replies = await Promise.all(Array.from({ length: 1_000 }, ask)).finally(() => agent.close())
    const given = replies.filter(({ status }) => status < 300)
    const [first] = given
    expect(given.length).toBeGreaterThan(0)
    expect(given.filter(({ headers }) => !headers['idempotency-replayed']).length).toBeLessThanOrEqual(1)
    for (const { status, text, headers } of given) {
      expect({ status, text, location: headers.location }).toEqual({ status: first?.status, text: first?.text, location: first?.headers.location })
    }
    for (const { status, text, headers } of replies.filter(reply => reply.status >= 300)) {
      const told = { status, type: headers['content-type'], code: JSON.parse(text).code, retryAfter: headers['retry-after'] }
      expect(COME_BACK).toContainEqual(told)
    }
    expect(await ordersOf(id)).toEqual([{ id: JSON.parse(first?.text as string).id }])
    await shop.untilState(JSON.parse(first?.text as string).id, 'confirmed')
    expect(await shop.reserved(id)).toBe(3_500)
    expect(await place(token, key)).toMatchObject({ status: first?.status, body: JSON.parse(first?.text as string) })
  })
})

/** A slow machine also runs out of time. */
const COME_BACK = [
  [409, 'idempotency-conflict', '1'],
  [503, 'overloaded', '1'],
  [504, 'deadline-exceeded', undefined],
].map(([status, code, retryAfter]) => ({ status, type: 'application/problem+json', code, retryAfter }))
