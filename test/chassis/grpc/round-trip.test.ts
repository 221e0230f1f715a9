import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import { timestamp } from '../../../services/chassis/contract/ids.ts'
import { modelOf } from '../../../services/chassis/grpc/model.ts'
import { rpcOf } from '../../../services/chassis/grpc/operations.ts'
import { withGrpc } from '../../support/protocols.ts'

/** A schema, and values of it. */
interface Case {
  schema: z.ZodType
  values: fc.Arbitrary<unknown>
  /** Its empty value is not told from none. */
  many?: true
}

const text = fc.string({ unit: 'grapheme', maxLength: 8 })
const nanoseconds = fc
  .tuple(
    fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }),
    fc.constantFrom('', '123', '000456', '999999999'),
  )
  .map(([date, more]) => (more === '' ? date.toISOString() : date.toISOString().replace(/\d{3}Z$/, `${more.padEnd(3, '0')}Z`)))
const json = fc.jsonValue({ maxDepth: 2 }).map(value => JSON.parse(JSON.stringify(value).replaceAll('-0', '0')))

const scalar = fc.constantFrom<Case>(
  { schema: z.string(), values: text },
  { schema: z.int(), values: fc.maxSafeInteger() },
  { schema: z.number(), values: fc.double({ noNaN: true, noDefaultInfinity: true }) },
  { schema: z.boolean(), values: fc.boolean() },
  { schema: timestamp, values: nanoseconds },
  { schema: z.literal([1, 2]), values: fc.constantFrom(1, 2) },
  { schema: z.unknown(), values: json },
  { schema: z.enum(['on-sale', '10', 'gone']).meta({ title: 'State' }), values: fc.constantFrom('on-sale', '10', 'gone') },
)

const mapKey = fc.oneof(text, fc.constantFrom('constructor', '__proto__'))
const list = (one: Case): Case => ({ schema: z.array(one.schema), values: fc.array(one.values, { maxLength: 3 }), many: true })
const map = (one: Case): Case => ({
  schema: z.record(z.string(), one.schema),
  values: fc.dictionary(mapKey, one.values, { maxKeys: 3, noNullPrototype: true }),
  many: true,
})
const nullable = (one: Case): Case => (one.many ? one : { schema: one.schema.nullable(), values: fc.option(one.values) })

const KEYS = ['sku', 'orderId', 'constructor', 'toString', 'value', 'body', 'line2', 'HTTPStatus', 'oneof']

/** Messages without titles take the name of their place, which is their own. */
const message = (inner: fc.Arbitrary<Case>): fc.Arbitrary<Case> =>
  fc
    .uniqueArray(fc.tuple(fc.constantFrom(...KEYS), inner, fc.constantFrom('required', 'optional', 'nullable')), {
      selector: ([key]) => key,
      maxLength: 4,
    })
    .map(fields => {
      const shape: Record<string, z.ZodType> = {}
      const values: Record<string, fc.Arbitrary<unknown>> = {}
      for (const [key, one, presence] of fields) {
        const made = presence === 'nullable' ? nullable(one) : one
        shape[key] = presence === 'optional' ? made.schema.optional() : made.schema
        // An empty list that may be absent is absent.
        const present = presence === 'optional' && made.many ? made.values.filter(value => Object.keys(value as object).length > 0) : made.values
        values[key] = presence === 'optional' ? fc.option(present, { nil: undefined }) : present
      }
      return { schema: strict(shape), values: fc.record(values, { noNullPrototype: true }).map(withoutUndefined) }
    })

const withoutUndefined = (value: Record<string, unknown>) => Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined))

const field = (inner: fc.Arbitrary<Case>) => fc.oneof(inner, inner.map(list), inner.map(map))
const body = message(field(fc.oneof(scalar, message(field(fc.oneof(scalar, message(scalar)))))))

const given = body.chain(({ schema, values }) => values.map(value => ({ schema, value: value as object })))

const serviceOf = (schema: z.ZodType) =>
  withGrpc({
    name: 'stock',
    contract: defineContract({
      put: {
        method: 'PUT',
        path: '/items/{orderId}',
        summary: 'Put',
        auth: 'none',
        params: z.object({ orderId: z.string() }),
        body: schema,
        responses: { 200: { description: 'Put', body: schema }, 204: { description: 'Nothing' } },
      },
    }),
  })

describe('what a contract takes and answers', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(given, ({ schema, value }) => {
        const [put] = rpcOf(serviceOf(schema)).methods
        if (!put) throw new Error('no method')
        const parts = { params: { orderId: 'one' }, body: value }
        expect(put.readRequest(put.writeRequest(parts))).toEqual({ parts: { ...parts, query: undefined }, unknownFields: 0 })
        expect(put.readAnswer(put.writeAnswer({ status: 200, body: value }))).toEqual({ status: 200, body: value })
      }),
      { numRuns: 300 },
    )
  })
})

const one = (schema: z.ZodType) => {
  const [put] = rpcOf(serviceOf(strict({ it: schema }))).methods
  if (!put) throw new Error('no method')
  return {
    through: (it: unknown) => put.readAnswer(put.writeAnswer({ status: 200, body: { it } })).body,
    put,
  }
}

test.each([
  ['2026-11-27T01:02:03Z', '2026-11-27T01:02:03.000Z'],
  ['2026-11-27T03:02:03.5+02:00', '2026-11-27T01:02:03.500Z'],
  ['1969-12-31T23:59:59.000000001Z', '1969-12-31T23:59:59.000000001Z'],
  ['0001-01-01T00:00:00.000Z', '0001-01-01T00:00:00.000Z'],
])('the point in time %s arrives as %s', (given, arrives) => {
  expect(one(timestamp).through(given)).toEqual({ it: arrives })
})

test('a whole number beyond 2^53 is refused by the name of its field', () => {
  const { put } = one(strict({ count: z.array(z.int()) }))
  const bytes = put.writeRequest({ params: { orderId: 'one' }, body: { it: { count: [1, 2 ** 53] } } })
  expect(() => put.readRequest(bytes)).toThrow('it.count.1 is not between -(2^53 - 1) and 2^53 - 1')
})

test('a schema that holds itself is a message that does', () => {
  const tree = z
    .strictObject({
      name: z.string(),
      get inner() {
        return z.array(tree)
      },
    })
    .meta({ title: 'Tree' })
  expect(modelOf(serviceOf(strict({ it: tree }))).messages.Tree?.fields[1]).toMatchObject({ label: 'list', type: { kind: 'message', name: 'Tree' } })
  const value = {
    name: 'a',
    inner: [
      { name: 'b', inner: [] },
      { name: 'c', inner: [{ name: 'd', inner: [] }] },
    ],
  }
  expect(one(tree).through(value)).toEqual({ it: value })
})

test('a schema with an id is the message of its title', () => {
  const price = strict({ amount: z.int() }).meta({ id: 'round-trip-price', title: 'Price' })
  expect(Object.keys(modelOf(serviceOf(strict({ a: price, b: price.nullable() }))).messages)).toContain('Price')
  expect(one(price).through({ amount: 3 })).toEqual({ it: { amount: 3 } })
})

describe('a contract is refused, naming the place,', () => {
  const titled = (title: string, schema: z.ZodType) => schema.meta({ title })
  test.each([
    [
      'two schemas of one title',
      { a: titled('Item', strict({ x: z.string() })), b: titled('Item', strict({ y: z.string() })) },
      'two different schemas are the message Item',
    ],
    [
      'a message called as an enum is',
      { a: titled('Item', strict({ x: z.string() })), b: titled('Item', z.enum(['a', 'b'])) },
      'Item is a message and an enum',
    ],
    ['a message called as the service is', { a: titled('StockService', strict({ x: z.string() })) }, 'StockService is the service and a message'],
    ['two keys of one name', { orderId: z.string(), order_id: z.string() }, 'order_id and orderId both are'],
    ["two keys of one name in protobuf's JSON", { a1: z.string(), 'a-1': z.string() }, "a1 and a-1 of PutRequest are one name in protobuf's JSON"],
    ['a key without a name', { 日本: z.string() }, "'日本' of PutRequest gives no name in protobuf"],
    ['a key that begins with a digit', { '2fa': z.string() }, "'2fa' of PutRequest gives no name in protobuf"],
    ['a title without letters', { a: titled('3D', strict({ x: z.string() })) }, "'3D' is no name in protobuf for a message"],
    ['values that are too much alike', { a: z.enum(['a-1', 'a1']) }, "values 'a-1' and 'a1' of PutA are too much alike for protobuf"],
    ['the value that protobuf has itself', { a: z.enum(['unspecified', 'b']) }, "values 'unspecified' and '' of PutA"],
    ['values of different types', { a: z.literal(['a', 1]) }, 'PutRequest.a is one of values of different types'],
    [
      'values of two enums with one name',
      { a: titled('Item', z.enum(['state-on', 'b'])), b: titled('ItemState', z.enum(['on', 'off'])) },
      'ITEM_STATE_ON is a value of Item and a value of ItemState',
    ],
    ['absent and null', { a: z.string().nullish() }, 'PutRequest.a may be absent and null'],
    ['null and empty', { a: z.array(z.string()).nullable() }, 'PutRequest.a may be null and empty'],
    ['a list of lists', { a: z.array(z.array(z.string())) }, 'PutRequest.a[] is a list or a map inside of another'],
    ['a tuple', { a: z.tuple([z.string(), z.int()]) }, 'PutRequest.a is a tuple'],
    ['a union', { a: z.union([z.string(), z.int()]) }, 'PutRequest.a is a union'],
    ['members without names', { a: z.looseObject({ x: z.string() }) }, 'PutRequest.a takes members that it does not name'],
    [
      'a map that has the name of a message',
      { some: z.record(z.string(), z.string()), a: titled('SomeEntry', strict({ x: z.string() })) },
      'SomeEntry is what protobuf calls a map of PutRequest',
    ],
  ])('for %s', (_, shape, line) => {
    expect(() => modelOf(serviceOf(z.strictObject(shape as z.ZodRawShape)))).toThrow(line)
  })
})

test('a body whose names are those of params is a field of its own', () => {
  const service = serviceOf(strict({ orderId: z.string(), body: strict({ a: z.string() }) }))
  const model = modelOf(service)
  expect(Object.keys(model.messages).sort()).toEqual(['PutBody', 'PutBodyBody', 'PutOk', 'PutOkBody', 'PutRequest', 'PutResponse'])
  expect(model.messages.PutRequest?.fields.map(({ name }) => name)).toEqual(['order_id', 'body'])
})
