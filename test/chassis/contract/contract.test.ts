import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Contract, defineContract, isIdempotent, type Method, parsePart, strict } from '../../../services/chassis/contract/contract.ts'
import { Failure } from '../../../services/chassis/contract/failure.ts'

const shape = strict({ name: z.string().max(3, 'is too long'), inner: strict({ list: z.array(z.int()) }) })

const refusal = (value: unknown) => {
  try {
    parsePart('body', shape, value)
  } catch (error) {
    expect(error).toBeInstanceOf(Failure)
    expect(error).toMatchObject({ kind: 'invalid', code: 'invalid-request' })
    return (error as Failure).options.extra?.errors as { field: string; message: string }[]
  }
  return []
}

describe('parsePart', () => {
  test('gives what the schema makes of the value', () => {
    expect(parsePart('query', z.object({ n: z.string().transform(Number) }), { n: '7' })).toEqual({ n: 7 })
  })

  test('names every wrong field at once, by its path', () => {
    expect(refusal({ name: 'long', inner: { list: [1, 'x'], more: 1 }, other: 2, another: 3 })).toEqual([
      { field: 'body.name', message: 'is too long' },
      { field: 'body.inner.list.1', message: expect.stringContaining('expected number') },
      { field: 'body.inner.more', message: 'is not a known field' },
      { field: 'body.other', message: 'is not a known field' },
      { field: 'body.another', message: 'is not a known field' },
    ])
  })

  test('does not repeat the value', () => {
    expect(JSON.stringify(refusal({ name: 'hunter2', inner: 'hunter2' }))).not.toContain('hunter2')
  })

  test('tells a long name in part', () => {
    expect(refusal({ name: 'a', inner: { list: [] }, ['n'.repeat(5_000)]: 1 })[0]?.field).toHaveLength(200)
  })
})

describe('isIdempotent', () => {
  test.each<[Method, boolean]>([
    ['GET', true],
    ['PUT', true],
    ['DELETE', true],
    ['POST', false],
    ['PATCH', false],
  ])('%s: %s', (method, expected) => {
    expect(isIdempotent({ method, path: '/', summary: '', auth: 'none', responses: {} })).toBe(expected)
  })
})

describe('defineContract', () => {
  const operation = { method: 'GET', path: '/things/{id}', summary: 'Get', auth: 'none', responses: { 204: { description: 'Done' } } } as const
  const params = z.object({ id: z.string().max(36) })

  test.each([
    ['a name that differs', { get: { ...operation, path: '/things/{idd}', params } }, 'get: the path /things/{idd} has {idd}, params has id'],
    ['a parameter that nothing describes', { get: operation }, 'get: the path /things/{id} has {id}, params has nothing'],
    ['a version that is none', { get: { ...operation, params, commandVersion: 0 } }, 'get: commandVersion is 0, not a whole number from 1 to 32767'],
    ['a version in parts', { get: { ...operation, params, commandVersion: 1.5 } }, 'get: commandVersion is 1.5, not a whole number from 1 to 32767'],
    [
      'a version beyond its column',
      { get: { ...operation, params, commandVersion: 32_768 } },
      'get: commandVersion is 32768, not a whole number from 1 to 32767',
    ],
    ['a description of no parameter', { get: { ...operation, path: '/things', params } }, 'get: params has id, the path /things has no {id}'],
    [
      'two operations of one route',
      { get: { ...operation, params }, find: { ...operation, path: '/things/{name}', params: z.object({ name: z.string().max(9) }) } },
      'find and get both are GET /things/{name}',
    ],
  ] as [string, Contract, string][])('refuses %s', (_name, contract, message) => {
    expect(() => defineContract(contract)).toThrow(message)
  })

  test('takes two methods of one path, and names every problem at once', () => {
    expect(() => defineContract({ get: { ...operation, params }, drop: { ...operation, method: 'DELETE', params } })).not.toThrow()
    expect(() => defineContract({ a: operation, b: { ...operation, method: 'PUT' } })).toThrow(/a: the path .*; b: the path /)
  })
})
