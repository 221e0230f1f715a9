import { create, toBinary } from '@bufbuild/protobuf'
import { TimestampSchema } from '@bufbuild/protobuf/wkt'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { timestamp } from '../../../services/chassis/contract/ids.ts'
import { rpcOf } from '../../../services/chassis/grpc/operations.ts'
import { withGrpc } from '../../support/protocols.ts'

const serviceOf = (shape: z.ZodRawShape) => ({
  name: 'stock',
  contract: defineContract({
    put: { method: 'PUT', path: '/items', summary: 'Put', auth: 'none', body: strict(shape), responses: { 204: { description: 'Put' } } },
  }),
})

describe('a service whose contract has changed since its numbers were written', () => {
  const { grpc } = withGrpc(serviceOf({ sku: z.string(), state: z.enum(['on', 'off']), count: z.int() }))
  test.each([
    ['a field', { sku: z.string(), state: z.enum(['on', 'off']), count: z.int(), constructor: z.string() }, 'PutRequest.constructor has no number'],
    ['a value', { sku: z.string(), state: z.enum(['on', 'off', 'gone']), count: z.int() }, 'PutState.PUT_STATE_GONE has no number'],
    ['a type', { sku: z.string(), state: z.enum(['on', 'off']), count: z.string() }, 'PutRequest.count is string and was int64'],
    ['presence', { sku: z.string(), state: z.enum(['on', 'off']), count: z.int().optional() }, 'PutRequest.count is optional int64 and was int64'],
  ])('is not served, for %s', (_, shape, line) => {
    expect(() => rpcOf({ ...serviceOf(shape as unknown as z.ZodRawShape), grpc })).toThrow(`stock: ${line}: run npx fairlead proto`)
  })
})

describe('what no value of the contract can be', () => {
  const rpc = rpcOf(withGrpc(serviceOf({ state: z.enum(['on', 'off']).optional(), at: timestamp.optional() })))
  const [put] = rpc.methods
  const request = rpc.schema.message('PutRequest')
  const read = (init: object) => put?.readRequest(toBinary(request, create(request, init as never)))

  test('a value that the enum does not have is refused by the name of its field', () => {
    expect(() => read({ state: 7 })).toThrow('state is 7, which PutState does not have')
  })

  test('0 of an enum is absent', () => {
    expect(read({ state: 0 })).toEqual({ parts: { body: {} }, unknownFields: 0 })
  })

  test.each([
    { seconds: 1e15, nanos: 0 },
    { seconds: 0, nanos: -1 },
    { seconds: 0, nanos: 1_000_000_000 },
  ])('the point in time %j is refused by the name of its field', ({ seconds, nanos }) => {
    expect(() => read({ at: create(TimestampSchema, { seconds: BigInt(seconds), nanos }) })).toThrow('at is not a point in time')
  })
})
