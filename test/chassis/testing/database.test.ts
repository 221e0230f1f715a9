import { beforeAll, expect, inject, test, vi } from 'vitest'
import { z } from 'zod'
import { defineContract, defineService, Failure, id, implement, newId, type Scope, strict } from '../../../services/chassis/contract/mod.ts'
import { type Queries, statement } from '../../../services/chassis/data/mod.ts'
import { POSTGRES_VARIABLE } from '../../../services/chassis/testing/database.ts'
import { runService, standIn, userToken } from '../../../services/chassis/testing/mod.ts'
import setup from '../../../services/chassis/testing/postgres.ts'
import { small } from '../../support/small.ts'

beforeAll(() => {
  process.env[POSTGRES_VARIABLE] = inject('postgresUrl')
})

const params = z.object({ id })
const stock = defineService({
  name: 'stock',
  port: 8081,
  contract: defineContract({
    reserve: {
      method: 'PUT',
      path: '/reservations/{id}',
      summary: 'Reserve one',
      auth: 'workload',
      params,
      responses: { 200: { description: 'Done', body: strict({ left: z.int() }) } },
      problems: { 409: ['sold-out'] },
    },
  }),
  ...small,
})
const state = { 200: { description: 'The booking', body: strict({ state: z.string() }) } }
const booking = defineService({
  name: 'booking',
  port: 8082,
  database: 'booking',
  contract: defineContract({
    book: { method: 'PUT', path: '/bookings/{id}', summary: 'Book', auth: 'user', params, responses: { 202: state[200] } },
    get: { method: 'GET', path: '/bookings/{id}', summary: 'One', auth: 'user', params, responses: state },
  }),
  calls: [{ to: stock, mode: 'optional', attemptTimeoutMs: 300, commands: ['reserve'] }],
  ...small,
})
const INSERT = statement('booking-insert', "insert into bookings (id, owner, state) values ($1, $2, 'pending')")
const FIND = statement<{ state: string }>('booking-find', 'select state from bookings where id = $1 and owner = $2')
const SETTLE = statement('booking-settle', 'update bookings set state = $2 where id = $1')
const move = (tx: Queries, scope: Scope, subject: string, to: string) => tx.query(scope, SETTLE, [subject, to])
const bookingService = implement(booking, {
  migrations: new URL('./migrations/', import.meta.url),
  start: ({ database, outbox }) => ({
    handlers: {
      book: ({ scope, principal, params }) =>
        database.transaction(scope, async tx => {
          await tx.query(scope, INSERT, [params.id, principal.id])
          await outbox.send(tx, scope, 'stock.reserve', params.id, { params })
          return { status: 202, body: { state: 'pending' } }
        }),
      get: async ({ scope, principal, params }) => {
        const [found] = await database.query(scope, FIND, [params.id, principal.id])
        if (!found) throw new Failure('not-found', 'unknown-booking', 'There is no such booking')
        return { status: 200, body: found }
      },
    },
    settle: { 'stock.reserve': (answer, { tx, scope, subject }) => move(tx, scope, subject, 'problem' in answer ? 'refused' : 'held') },
    verifyUser: async () => {
      throw new Error('a test has its own')
    },
  }),
})

const held = standIn(stock, { reserve: () => ({ status: 200, body: { left: 3 } }) })

test('a service has a database of its own, with its migrations, and its outbox is delivered', async () => {
  await using service = await runService(bookingService, { callees: { stock: held } })
  const ask = { as: userToken('ada'), params: { id: newId() } }
  expect(await service.call('book', ask)).toMatchObject({ status: 202 })
  await service.outboxEmpty()
  expect(await service.call('get', ask)).toMatchObject({ status: 200, body: { state: 'held' } })
  expect(await service.sql('select owner from bookings where id = $1', [ask.params.id])).toEqual([{ owner: 'ada' }])

  await using another = await runService(bookingService, { callees: { stock: held } })
  expect(await another.sql('select * from bookings')).toEqual([])
})

test('a declared refusal settles the command as well', async () => {
  const soldOut = standIn(stock, {
    reserve: () => {
      throw new Failure('conflict', 'sold-out', 'There is none left')
    },
  })
  await using service = await runService(bookingService, { callees: { stock: soldOut } })
  const ask = { as: userToken('ada'), params: { id: newId() } }
  await service.call('book', ask)
  await service.outboxEmpty()
  expect(await service.call('get', ask)).toMatchObject({ body: { state: 'refused' } })
})

test('a command that can never be delivered is named', async () => {
  const errors = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const odd = standIn(stock, {
    reserve: () => {
      throw new Failure('conflict', 'odd', 'The contract does not declare this')
    },
  })
  await using service = await runService(bookingService, { callees: { stock: odd } })
  await service.call('book', { as: userToken('ada'), params: { id: newId() } })
  await expect(service.outboxEmpty()).rejects.toThrow(/^the outbox is not empty: stock\.reserve is parked/)
  errors.mockRestore()
})

test('its database is dropped with it', async () => {
  const url = await (async () => {
    await using service = await runService(bookingService)
    const [row] = await service.sql<{ name: string }>('select current_database() as name')
    return row?.name
  })()
  await using service = await runService(bookingService)
  expect(await service.sql('select 1 from pg_database where datname = $1', [url])).toEqual([])
})

test('without a Postgres it says how to have one', async () => {
  delete process.env[POSTGRES_VARIABLE]
  await expect(runService(bookingService)).rejects.toThrow("there is no Postgres: set globalSetup: ['@fairlead/chassis/testing/postgres']")
  const stop = await setup()
  try {
    await using service = await runService(bookingService)
    expect(await service.sql('select * from bookings')).toEqual([])
  } finally {
    await stop()
  }
})
