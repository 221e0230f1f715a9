import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { CallError, count, defineContract, defineService, Failure, implement, strict, text } from '../../../services/chassis/contract/mod.ts'
import { runService, standIn, userToken, workloadToken } from '../../../services/chassis/testing/mod.ts'
import { small } from '../../support/small.ts'

const params = z.object({ sku: z.string().max(20) })
const left = strict({ left: z.int() })
const stock = defineService({
  name: 'stock',
  port: 8081,
  contract: defineContract({
    getStock: {
      method: 'GET',
      path: '/stock/{sku}',
      summary: 'How many are left',
      auth: 'workload',
      params,
      responses: { 200: { description: 'The stock', body: left } },
      problems: { 404: ['unknown-sku'] },
    },
  }),
  calls: [],
  ...small,
})
const shelf = defineService({
  name: 'shelf',
  port: 8082,
  contract: defineContract({
    look: {
      method: 'GET',
      path: '/shelf/{sku}',
      summary: 'What a user sees',
      auth: 'user',
      params,
      responses: { 200: { description: 'It', body: strict({ text: z.string() }) } },
      problems: { 404: ['unknown-sku'] },
    },
    count: {
      method: 'GET',
      path: '/count',
      summary: 'For services',
      auth: 'workload',
      responses: { 200: { description: 'The limit', body: left } },
    },
  }),
  settings: { LIMIT: count(7) },
  calls: [{ to: stock, mode: 'required', attemptTimeoutMs: 300 }],
  ...small,
})
const closed = vi.fn(async () => {})
const shelfService = implement(shelf, {
  start: ({ clients, settings }) => ({
    handlers: {
      look: async ({ scope, principal, params: { sku } }) => {
        const answer = await clients.stock.call(scope, 'getStock', { params: { sku } })
        if ('problem' in answer) throw new Failure('not-found', answer.problem.code, answer.problem.detail)
        return { status: 200, body: { text: `${principal.id} sees ${answer.body.left}` } }
      },
      count: () => ({ status: 200, body: { left: settings.LIMIT } }),
    },
    verifyUser: async () => {
      throw new Error('a test has its own')
    },
    closers: [closed],
  }),
})
const stocked = standIn(stock, { getStock: ({ params: { sku } }) => ({ status: 200, body: { left: sku.length } }) })
const ada = userToken('ada')

describe('runService', () => {
  test('runs a service with stand-ins for those that it calls, and ends both', async () => {
    let url: string
    {
      await using service = await runService(shelfService, { callees: { stock: stocked } })
      url = service.url
      expect(await service.call('look', { as: ada, params: { sku: 'bike' } })).toEqual({ status: 200, body: { text: 'ada sees 4' } })
    }
    expect(closed).toHaveBeenCalledOnce()
    await expect(fetch(url)).rejects.toThrow('fetch failed')
  })

  test('gives the problems that the contract declares', async () => {
    const none = standIn(stock, {
      getStock: () => {
        throw new Failure('not-found', 'unknown-sku', 'There is no such thing')
      },
    })
    await using service = await runService(shelfService, { callees: { stock: none } })
    expect(await service.call('look', { as: ada, params: { sku: 'x' } })).toMatchObject({ status: 404, problem: { code: 'unknown-sku' } })
  })

  test('holds every request to its auth', async () => {
    await using service = await runService(shelfService, { callees: { stock: stocked } })
    const look = (as?: string) => service.call('look', { params: { sku: 'bike' }, ...(as && { as }) })
    for (const as of [undefined, workloadToken('stock'), 'test.e30', 'x'])
      expect(await look(as)).toMatchObject({ status: 401, problem: { code: 'unauthorized' } })
    expect(await service.call('count', { as: workloadToken('stock') })).toMatchObject({ status: 200 })
    expect(await service.call('count', { as: ada })).toMatchObject({ status: 401 })
  })

  test('takes settings as a process does, and refuses those that the service does not have', async () => {
    await using service = await runService(shelfService, { callees: { stock: stocked }, settings: { LIMIT: '3' } })
    expect(await service.call('count', { as: workloadToken('stock') })).toMatchObject({ body: { left: 3 } })
    await expect(runService(shelfService, { settings: { LIMIT: 'many' } })).rejects.toThrow('LIMIT')
    await expect(runService(shelfService, { settings: { LIMITS: '3' } })).rejects.toThrow('shelf has no setting LIMITS')
  })

  test('says how to give a required setting that is left out', async () => {
    const loan = { ...stock, name: 'loan-desk', settings: { BRANCH: text('the branch that lends') } }
    const start = () => ({ handlers: { getStock: () => ({ status: 200 as const, body: { left: 1 } }) } })
    await expect(runService(implement(defineService(loan), { start }))).rejects.toThrow(
      new Error("BRANCH is missing (the branch that lends): give it to runService(loanDeskService, { settings: { BRANCH: '...' } })"),
    )
    const two = defineService({ ...loan, settings: { ...loan.settings, DAYS: count('days of a loan') } })
    await expect(runService(implement(two, { start }))).rejects.toThrow(
      "BRANCH is missing (the branch that lends), DAYS is missing (days of a loan, a whole number): give them to runService(loanDeskService, { settings: { BRANCH: '...', DAYS: '...' } })",
    )
  })

  test('gives a service the folders of its secrets, and asks for one that is left out', async () => {
    const vault = defineService({ ...stock, name: 'vault', secrets: { 'api-key': {} } })
    const vaultService = implement(vault, {
      start: ({ secrets }) => ({ handlers: { getStock: () => ({ status: 200, body: { left: secrets['api-key'].length } }) } }),
    })
    await using service = await runService(vaultService, { secrets: { 'api-key': '/five' } })
    expect(await service.call('getStock', { as: workloadToken('shelf'), params: { sku: 'bike' } })).toMatchObject({ body: { left: 5 } })
    await expect(runService(vaultService)).rejects.toThrow('vault declares the secret api-key: give runService() its folder')
  })

  test('refuses a service without a handler for each operation', async () => {
    const handlers = { look: () => ({ status: 200, body: { text: '' } }) }
    const half = implement(shelf, { start: () => ({ handlers }) as never })
    await expect(runService(half)).rejects.toThrow('shelf has no handler for count: add it to the handlers in services/shelf/start.ts')
  })

  test('throws for what no contract declares: a callee that is not there, an answer that nobody gave', async () => {
    const errors = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    await using service = await runService(shelfService)
    await expect(service.call('look', { as: ada, params: { sku: 'bike' } })).rejects.toThrow(CallError)
    expect(errors.mock.calls.join()).toContain('stock cannot be reached')
    errors.mockRestore()
  })

  test('a stand-in without a handler says so', async () => {
    const errors = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    await using service = await runService(shelfService, { callees: { stock: standIn(stock, {}) } })
    await expect(service.call('look', { as: ada, params: { sku: 'bike' } })).rejects.toThrow(CallError)
    expect(errors.mock.calls.join()).toContain('the stand-in of stock has no getStock')
    errors.mockRestore()
  })
})
