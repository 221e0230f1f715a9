import { describe, expect, test } from 'vitest'
import { defineJourney, type JourneyRecorder } from '../../../services/chassis/contract/journey.ts'
import { fill, sourceOf } from '../../../services/chassis/contract/reference.ts'
import { desk, stock } from '../../support/journey-services.ts'

/** What a journey would be that the types do not allow. */
// biome-ignore lint/suspicious/noExplicitAny: calls that do not compile
const loosely = (record: (recorder: Omit<JourneyRecorder, 'call'> & { call: (...args: any[]) => any }) => unknown) => () =>
  defineJourney(record as (recorder: JourneyRecorder) => void)

const id = '0193a0c2-5a3e-7cc1-9d5e-6a1f0c2b4d10'

const show = (value: unknown) =>
  fill(value, source => {
    if (source.from === 'answer') return `<${source.step}.${source.path.join('.')}${source.isText ? '' : ' as it is'}>`
    return source.from === 'user' ? `<user ${source.name}>` : `<${source.kind} ${source.number}>`
  })

describe('defineJourney', () => {
  test('records each call with references in the places of values that come later', () => {
    const { steps } = defineJourney(({ call, fresh, user }) => {
      const { accessToken, expiresIn } = call(desk, 'logIn', { body: { email: fresh.email(), password: fresh.password() } })
      const id = fresh.id()
      const { seats } = call(desk, 'book', {
        as: accessToken,
        params: { id },
        body: { sku: 'bike', row: expiresIn, names: ['Ada'] },
        crosses: ['stock'],
      })
      call(desk, 'get', { as: user(), params: { id }, headers: { 'x-seat': seats[1].name } })
      call(desk, 'leave', { as: user('bob'), params: { id } })
    })
    expect(
      steps.map(({ service, name, as, params, body, headers, crosses }) => [`${service.name}.${name}`, show({ as, params, body, headers, crosses })]),
    ).toEqual([
      ['desk.logIn', { body: { email: '<email 0>', password: '<password 1>' }, headers: {}, crosses: [] }],
      [
        'desk.book',
        {
          as: '<0.accessToken>',
          params: { id: '<id 2>' },
          body: { sku: 'bike', row: '<0.expiresIn as it is>', names: ['Ada'] },
          headers: {},
          crosses: ['stock'],
        },
      ],
      ['desk.get', { as: '<user ada>', params: { id: '<id 2>' }, headers: { 'x-seat': '<1.seats.1.name>' }, crosses: [] }],
      ['desk.leave', { as: '<user bob>', params: { id: '<id 2>' }, headers: {}, crosses: [] }],
    ])
    expect(steps[1]?.operation).toBe(desk.contract.book)
  })

  test('gives an operation that wants an idempotency key one per run, unless the journey has its own', () => {
    const { steps } = defineJourney(({ call, fresh, user }) => {
      const step = { as: user(), params: { id: fresh.id() }, body: { cents: 1 } }
      call(desk, 'pay', step)
      call(desk, 'pay', { ...step, headers: { 'idempotency-key': 'mine' } })
    })
    expect(sourceOf(steps[0]?.headers['idempotency-key'])).toMatchObject({ from: 'fresh', kind: 'text' })
    expect(steps[1]?.headers).toEqual({ 'idempotency-key': 'mine' })
  })

  test('takes a reference in one of several forms that a value may have', () => {
    const card = loosely(({ call, user }) => call(desk, 'pay', { as: user(), params: { id }, body: { cents: 1, by: { card: user() } } }))
    expect(card).not.toThrow()
  })

  test('can be printed as data', () => {
    const journey = defineJourney(({ call, fresh, user }) => {
      call(desk, 'get', { as: user(), params: { id: fresh.id() } })
    })
    expect(() => JSON.stringify(journey.steps.map(({ params }) => params))).not.toThrow()
  })

  test('leads into lists, records, alternatives, and what may be anything', () => {
    defineJourney(({ call }) => {
      const { byName, newest, raw } = call(stock, 'prices', { query: {} })
      const paths = [byName.bike, newest.sku, (raw as unknown as { a: { b: unknown } }).a.b].map(sourceOf)
      expect(paths).toMatchObject([
        { path: ['byName', 'bike'], isText: false },
        { path: ['newest', 'sku'], isText: true },
        { path: ['raw', 'a', 'b'] },
      ])
    })
  })

  const as = ({ user }: Omit<JourneyRecorder, 'call'>) => user()
  test.each<[string, Parameters<typeof loosely>[0], string]>([
    [
      'an operation that is not there',
      ({ call }) => call(desk, 'bok'),
      'step 1 of the journey (desk.bok): the operation is not in its contract; of desk there are logIn, book, pay, get, leave',
    ],
    ['a member that every object has', ({ call }) => call(desk, 'toString'), 'the operation is not in its contract'],
    [
      "a service's operation for others",
      ({ call }) => call(stock, 'reserve', { params: { id } }),
      'the operation is not reached from outside the system; of stock there are prices, price',
    ],
    ['an internal operation', ({ call }) => call(stock, 'getOpenApi'), 'is not reached from outside the system'],
    [
      'a missing parameter',
      r => r.call(desk, 'get', { as: as(r) }),
      'step 1 of the journey (desk.get): params: Invalid input: expected object, received undefined',
    ],
    [
      'a parameter of another name',
      r => r.call(desk, 'get', { as: as(r), params: { booking: id } }),
      'params.id: Invalid input: expected string, received undefined',
    ],
    ['a value of the wrong form', r => r.call(desk, 'get', { as: as(r), params: { id: 'x' } }), 'params.id: is not a UUIDv7 in lower case'],
    [
      'a fresh value of the wrong form',
      r => r.call(desk, 'get', { as: as(r), params: { id: r.fresh.text() } }),
      'params.id: is not a UUIDv7 in lower case',
    ],
    ['a body that is missing', ({ call }) => call(desk, 'logIn'), 'body: Invalid input: expected object, received undefined'],
    [
      'a body without a member, beside a reference',
      r => r.call(desk, 'book', { as: as(r), params: { id }, body: { sku: as(r) } }),
      'body.names: Invalid input',
    ],
    [
      'a member that the body does not have, beside a reference',
      r => r.call(desk, 'book', { as: as(r), params: { id }, body: { sku: as(r), names: [], colour: 'red' } }),
      'body.colour: is not a known field',
    ],
    ['a body that nobody takes', r => r.call(desk, 'get', { as: as(r), params: { id }, body: {} }), 'the operation has no body'],
    [
      'a user who is not logged in',
      ({ call }) => call(desk, 'get', { params: { id } }),
      "as is missing: user(), or the member of an answer that has the user's access token",
    ],
    ['a token in plain text', ({ call }) => call(desk, 'get', { as: 'eyJ', params: { id } }), 'as is missing'],
    ['a user where everybody may ask', r => r.call(stock, 'prices', { as: as(r), query: {} }), 'it is for everybody, so as has no meaning'],
    [
      'a member that no step has',
      ({ call }) => call(stock, 'prices', { query: {}, param: {} }),
      'it takes no param, but as, params, query, body, headers, until, crosses',
    ],
    ['a repeated POST', r => r.call(desk, 'pay', { as: as(r), params: { id }, body: { cents: 1 }, until: () => true }), 'until would repeat a POST'],
    ['a callee that is none', r => r.call(desk, 'get', { as: as(r), params: { id }, crosses: ['desk'] }), 'crosses desk, which desk does not call'],
    ['nothing', () => {}, 'a journey has at least one step'],
    ['an async function', async () => {}, 'its function is not async, and call() returns at once'],
    [
      'an answer that is awaited',
      async ({ call }) => await call(stock, 'prices', { query: {} }),
      'its function is not async, and call() returns at once',
    ],
  ])('refuses %s', (_, record, says) => {
    expect(loosely(record)).toThrow(says)
  })

  test.each<[string, Parameters<typeof loosely>[0], string]>([
    [
      'a member that the answer does not have',
      ({ call }) => call(stock, 'prices', { query: {} }).price,
      'the answer of step 1 (stock.prices) has no price; it has byName, newest, raw',
    ],
    [
      'a member of an element',
      r => r.call(desk, 'get', { as: as(r), params: { id } }).seats[0].colour,
      'the answer of step 1 (desk.get).seats.0 has no colour; it has row, name',
    ],
    ['a member of a list', r => r.call(desk, 'get', { as: as(r), params: { id } }).seats.row, '(desk.get).seats has no row; it has no members'],
    ['a member of a text', r => r.call(desk, 'get', { as: as(r), params: { id } }).state.held, '(desk.get).state has no held; it has no members'],
    ['a member of a fresh value', ({ fresh }) => (fresh.id() as unknown as { part: string }).part, 'fresh.id() has no part: it is a text'],
    ['a reference inside a text', ({ fresh }) => `${fresh.id()}`, 'fresh.id() is known only when the journey runs: give it as a whole value'],
    ['the elements of a list', r => [...r.call(desk, 'get', { as: as(r), params: { id } }).seats], 'seats is known only when the journey runs'],
    [
      'the members of an answer at once',
      r => ({ ...r.call(desk, 'get', { as: as(r), params: { id } }) }),
      'it cannot be spread; name its members one by one',
    ],
  ])('refuses to refer to %s', (_, record, says) => {
    expect(loosely(record)).toThrow(says)
  })

  test('names everything that is wrong with a step at once', () => {
    expect(loosely(({ call }) => call(desk, 'book', { params: {}, body: { names: [1] }, crosses: ['user'] }))).toThrow(
      /as is missing.*; params\.id: .*; body\.sku: .*; body\.names\.0: .*; crosses user, /,
    )
  })
})
