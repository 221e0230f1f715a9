import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Message } from '../../services/chassis/data/messages.ts'
import { type Shop, startShop } from '../shop/support/shop.ts'

const CABLE = [{ sku: 'usb-c-cable', quantity: 1 }]

let shop: Shop

beforeAll(async () => {
  shop = await startShop({ relay: false })
})
afterEach(() => shop.proxy.behave('pass'))
afterAll(() => shop?.close())

/** An order whose reservation nobody has tried successfully, with its message. */
async function pending() {
  const customer = await shop.user.newUser()
  shop.proxy.behave({ status: 503, code: 'unavailable' })
  const { body } = await shop.order.place(customer.token, CABLE)
  shop.proxy.behave('pass')
  return { customer, id: body.id as string, message: await messageOf(body.id) }
}

/** An order whose release nobody has tried successfully, with its message. */
async function cancelling() {
  const customer = await shop.user.newUser()
  const { body } = await shop.order.place(customer.token, CABLE)
  shop.proxy.behave({ status: 503, code: 'unavailable' })
  await shop.order.http('POST', `/orders/${body.id}/cancellation`, { token: customer.token })
  shop.proxy.behave('pass')
  return { customer, id: body.id as string, message: await messageOf(body.id) }
}

async function messageOf(orderId: string): Promise<Message<'user.reserveCredit'>> {
  const [message] = await shop.order.db.sql<Message<'user.reserveCredit'>>(
    'select id, kind, version, subject_id as "subjectId", sequence, payload, attempts from outbox where subject_id = $1',
    [orderId],
  )
  return message as Message<'user.reserveCredit'>
}

const deliver = (message: Message, scope = shop.order.runtime.scope()) => shop.order.deliver(message, scope)

const attempt = (message: Message<'user.reserveCredit'>, scope = shop.order.runtime.scope()) =>
  shop.order.outbox.attempt(scope, message, shop.order.saga.reserved)

describe('the delivery of user.reserveCredit', () => {
  test('confirms the order and removes the message', async () => {
    const { customer, id, message } = await pending()
    expect(message.kind).toBe('user.reserveCredit')
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await shop.state(id)).toBe('confirmed')
    expect(await shop.outbox(id)).toBe(0)
    expect(await shop.reserved(customer.id)).toBe(3_500)
  })

  test('delivered again moves nothing and is counted once', async () => {
    const { customer, id, message } = await pending()
    const before = await shop.order.runtime.metric('orders_total{state="confirmed"}')
    expect(await Promise.all([deliver(message), deliver(message), deliver(message)])).toEqual(Array(3).fill({ kind: 'done' }))
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await shop.order.db.sql('select state, version from orders where id = $1', [id])).toEqual([{ state: 'confirmed', version: 2 }])
    expect(await shop.reserved(customer.id)).toBe(3_500)
    expect(await shop.order.runtime.metric('orders_total{state="confirmed"}')).toBe(before + 1)
  })

  test('that is rolled back is not counted', async () => {
    const { id, message } = await pending()
    const before = await shop.order.runtime.metric('orders_total{state="confirmed"}')
    const unlock = await shop.lockWith(`select from orders where id = '${id}' for update`)
    await expect(deliver(message, shop.order.runtime.scope(600))).rejects.toMatchObject({ code: 'deadline-exceeded' })
    await shop.untilNobodyIsBlocked().finally(unlock)
    expect([await shop.state(id), await shop.outbox(id)]).toEqual(['pending', 1])
    expect(await shop.order.runtime.metric('orders_total{state="confirmed"}')).toBe(before)
    await deliver(message)
    expect(await shop.order.runtime.metric('orders_total{state="confirmed"}')).toBe(before + 1)
  })

  test('rejects the order with the code of the refusal', async () => {
    const { customer, id, message } = await pending()
    await shop.user.db.sql('update credit_accounts set limit_amount = 0 where user_id = $1', [customer.id])
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await shop.order.db.sql('select state, rejection_code from orders where id = $1', [id])).toEqual([
      { state: 'rejected', rejection_code: 'credit-exceeded' },
    ])
    expect(await shop.outbox(id)).toBe(0)
  })

  test('parks a message whose reservation was released although nobody cancelled the order', async () => {
    const { id, message } = await pending()
    shop.proxy.behave({ status: 409, code: 'reservation-released' })
    expect(await deliver(message)).toEqual({ kind: 'park', reason: 'reservation-released' })
    shop.proxy.behave('pass')
    expect(await shop.state(id)).toBe('pending')
  })

  test('after the cancellation leaves the order cancelled and nothing reserved', async () => {
    const { customer, id, message } = await pending()
    await shop.order.http('POST', `/orders/${id}/cancellation`, { token: customer.token })
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await shop.state(id)).toBe('cancelled')
    expect(await shop.reserved(customer.id)).toBe(0)
  })

  test('during the cancellation leaves the message of the release alone', async () => {
    const { customer, id, message } = await pending()
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    await shop.order.http('POST', `/orders/${id}/cancellation`, { token: customer.token })
    shop.proxy.behave('pass')
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await shop.state(id)).toBe('cancelling')
    const release = await messageOf(id)
    expect(release.kind).toBe('user.releaseCredit')
    await deliver(release)
    expect(await shop.state(id)).toBe('cancelled')
    expect(await shop.reserved(customer.id)).toBe(0)
  })
})

describe('the delivery of user.releaseCredit', () => {
  test('cancels the order and removes the message', async () => {
    const { customer, id, message } = await cancelling()
    expect(message.kind).toBe('user.releaseCredit')
    expect(await deliver(message)).toEqual({ kind: 'done' })
    expect(await shop.state(id)).toBe('cancelled')
    expect(await shop.outbox(id)).toBe(0)
    expect(await shop.reserved(customer.id)).toBe(0)
  })

  test('delivered again gives nothing back twice', async () => {
    const { customer, id, message } = await cancelling()
    await shop.order.place(customer.token, CABLE)
    await Promise.all([deliver(message), deliver(message)])
    await deliver(message)
    expect(await shop.reserved(customer.id)).toBe(3_500)
    expect(await shop.order.db.sql('select state, version from orders where id = $1', [id])).toEqual([{ state: 'cancelled', version: 4 }])
  })
})

describe.each([
  ['user.reserveCredit', pending],
  ['user.releaseCredit', cancelling],
])('the delivery of %s when the user service does not settle it', (_kind, prepare) => {
  test.each([
    [401, 'unauthorized', 'retry'],
    [403, 'forbidden', 'retry'],
    [408, 'request-timeout', 'retry'],
    [429, 'too-many-requests', 'retry'],
    [431, 'headers-too-large', 'retry'],
    [500, 'internal', 'retry'],
    [503, 'overloaded', 'retry'],
    [504, 'deadline-exceeded', 'retry'],
    [400, 'invalid-request', 'park'],
    [409, 'reservation-mismatch', 'park'],
  ])('%i %s: %s, and the order stays', async (status, code, kind) => {
    const { id, message } = await prepare()
    const before = await shop.state(id)
    shop.proxy.behave({ status, code })
    expect(await deliver(message)).toEqual({ kind, reason: status >= 500 ? `status-${status}` : code })
    expect(await shop.state(id)).toBe(before)
    expect(await shop.outbox(id)).toBe(1)
  })

  test('no connection: retry', async () => {
    const { message } = await prepare()
    await shop.proxy.down()
    expect(await deliver(message).finally(shop.proxy.up)).toEqual({ kind: 'retry', reason: 'unreachable' })
  })

  test('no answer: retry, in time', async () => {
    const { message } = await prepare()
    shop.proxy.behave('hang')
    expect(await deliver(message, shop.order.runtime.scope(400))).toEqual({ kind: 'retry', reason: 'timeout' })
  })

  test('no time: retry without a call', async () => {
    const { message } = await prepare()
    const before = shop.proxy.calls.length
    expect(await deliver(message, shop.order.runtime.scope(150))).toEqual({ kind: 'retry', reason: 'deadline-exceeded' })
    expect(shop.proxy.calls).toHaveLength(before)
  })
})

describe('outbox.attempt', () => {
  test('makes its message due at once when the user service cannot be reached', async () => {
    const { message } = await pending()
    await shop.order.db.sql("update outbox set due_at = now() + interval '1 hour' where id = $1", [message.id])
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    expect(await attempt(message)).toEqual({ kind: 'left' })
    expect(await shop.order.db.sql('select due_at <= now() as due, last_error from outbox where id = $1', [message.id])).toEqual([
      { due: true, last_error: 'status-503' },
    ])
  })

  test('leaves the message to its lease when the database fails too, and says so', async () => {
    const { id, message } = await pending()
    shop.proxy.behave({ status: 503, code: 'unavailable' })
    const unlock = await shop.lock('outbox')
    expect(await attempt(message, shop.order.runtime.scope(400)).finally(unlock)).toEqual({ kind: 'left' })
    expect(shop.order.runtime.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', messageId: message.id, msg: 'outbox message left to the relay' }),
    )
    expect(await shop.outbox(id)).toBe(1)
  })

  test('keeps time back: it gives up before the request has to answer', async () => {
    const { message } = await pending()
    shop.proxy.behave('hang')
    const scope = shop.order.runtime.scope(500)
    expect(await attempt(message, scope)).toEqual({ kind: 'left' })
    expect(scope.deadline.signal.aborted).toBe(false)
  })
})

describe('the message of an order', () => {
  test('is leased to its request beyond its deadline, so that no relay takes it meanwhile', async () => {
    const { id, token } = await shop.user.newUser()
    const held = shop.proxy.hold('PUT', 'request')
    const headers = { 'idempotency-key': 'leased', 'x-request-timeout-ms': '2000' }
    const placing = shop.order.http('POST', '/orders', { token, json: { items: CABLE }, headers })
    await held.arrived
    const [row] = await shop.order.db.sql<{ left: number }>(
      `select extract(epoch from due_at - now())::float8 as left from outbox where subject_id = (select id from orders where user_id = $1)`,
      [id],
    )
    held.release()
    await placing
    expect(row?.left).toBeGreaterThan(0)
    expect(row?.left).toBeLessThanOrEqual(2.5)
  })

  test('is one PUT for one order when all goes well', async () => {
    const { token } = await shop.user.newUser()
    const { body } = await shop.order.place(token, CABLE)
    await vi.waitFor(() => expect(shop.proxy.calls.filter(call => call.endsWith(body.id))).toEqual([`PUT ${body.id}`]))
  })
})

describe('the delivery of a command of nobody', () => {
  test.each([
    ['is tried again, since pods of another version may know it', 39, 'retry'],
    ['is parked when none has for long', 40, 'park'],
  ])('%s: nobody is asked, message and order stay', async (_name, attempts, kind) => {
    const { id, message } = await pending()
    const asked = shop.proxy.calls.length
    expect(await deliver({ ...message, kind: 'mail.send', attempts })).toEqual({ kind, reason: 'unknown-kind' })
    expect(shop.proxy.calls.length).toBe(asked)
    expect([await shop.state(id), await shop.outbox(id)]).toEqual(['pending', 1])
  })
})
