import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { assignNumbers, wrongNumbers } from '../../../infra/kit/proto/numbers.ts'
import type { ProtoNumbers } from '../../../services/chassis/contract/definition.ts'
import type { Field, FieldType, Model } from '../../../services/chassis/grpc/model.ts'

const SCALARS = ['string', 'int64', 'bool'] as const
const names = ['a', 'b', 'c', 'constructor', 'd']

const fields = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom(...names),
    type: fc.constantFrom(...SCALARS).map((scalar): FieldType => ({ kind: 'scalar', scalar })),
    label: fc.constantFrom<Field['label']>('one', 'optional', 'list'),
  }),
  { selector: field => field.name },
)

const model: fc.Arbitrary<Model> = fc
  .record({
    messages: fc.dictionary(fc.constantFrom('Money', 'Order'), fields),
    enums: fc.dictionary(fc.constantFrom('State', 'Kind'), fc.uniqueArray(fc.constantFrom('A', 'B', 'C'))),
    methods: fc.uniqueArray(fc.constantFrom('Get', 'Put')),
  })
  .map(({ messages, enums, methods }) => ({
    package: 'stock.v1',
    service: 'StockService',
    methods: methods.map(name => ({ operation: name, name, summary: '', request: 'Money', response: 'Money', statuses: {} })),
    messages: Object.fromEntries(Object.entries(messages).map(([name, own]) => [name, { fields: own.map(one => ({ ...one, key: one.name })) }])),
    enums: Object.fromEntries(Object.entries(enums).map(([name, values]) => [name, Object.fromEntries(values.map(value => [value, value]))])),
  }))

/** What each number of a message or an enum was ever given to. */
function meanings({ messages, enums }: ProtoNumbers): Map<string, string> {
  const given = new Map<string, string>()
  for (const [name, own] of Object.entries(messages))
    for (const [field, [number, type]] of Object.entries(own)) given.set(`message ${name} ${number}`, `${field} ${type.replace('optional ', '')}`)
  for (const [name, values] of Object.entries(enums)) for (const [value, number] of Object.entries(values)) given.set(`enum ${name} ${number}`, value)
  return given
}

describe('assignNumbers', () => {
  test('never gives a number another meaning, whatever comes and goes', () => {
    fc.assert(
      fc.property(fc.array(model, { minLength: 1, maxLength: 8 }), models => {
        let numbers: ProtoNumbers | undefined
        const ever = new Map<string, string>()
        for (const one of models) {
          numbers = assignNumbers(one, numbers).numbers
          expect(wrongNumbers(numbers)).toEqual([])
          for (const [number, meaning] of meanings(numbers)) {
            expect(ever.get(number) ?? meaning, number).toBe(meaning)
            ever.set(number, meaning)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  test('keeps the numbers of what stays, and says what a change breaks', () => {
    fc.assert(
      fc.property(model, model, (before, after) => {
        const first = assignNumbers(before).numbers
        const { numbers, breaking } = assignNumbers(after, first)
        const typed = (one: ProtoNumbers) =>
          Object.entries(one.messages).flatMap(([name, own]) => Object.entries(own).map(([f, v]) => `${name}.${f} ${v}`))
        const valued = (one: ProtoNumbers) =>
          Object.entries(one.enums).flatMap(([name, own]) => Object.entries(own).map(([f, v]) => `${name}.${f} ${v}`))
        const all = (one: ProtoNumbers) => [...typed(one), ...valued(one), ...one.methods, ...Object.keys(one.messages), ...Object.keys(one.enums)]
        expect(breaking.length > 0).toBe(!all(first).every(one => all(numbers).includes(one)))
        expect(assignNumbers(after, numbers)).toEqual({ numbers, breaking: [] })
      }),
      { numRuns: 300 },
    )
  })

  const withFields = (...own: [name: string, type?: FieldType, label?: Field['label']][]): Model => ({
    package: 'stock.v1',
    service: 'StockService',
    methods: [],
    messages: {
      Item: { fields: own.map(([name, type = { kind: 'scalar', scalar: 'string' }, label = 'one']) => ({ key: name, name, type, label })) },
    },
    enums: {},
  })
  const first = assignNumbers(withFields(['sku'], ['price'], ['left'])).numbers

  test.each([
    ['a removed field', withFields(['sku'], ['left']), ['Item.price is gone'], { Item: { numbers: [2], names: ['price'] } }],
    [
      'another type',
      withFields(['sku'], ['price', { kind: 'scalar', scalar: 'int64' }], ['left']),
      ['Item.price was string and is int64'],
      { Item: { numbers: [2], names: [] } },
    ],
    [
      'a field that need not be there any more',
      withFields(['sku'], ['price', undefined, 'optional'], ['left']),
      ['Item.price was string and is optional string'],
      undefined,
    ],
    [
      'a removed message',
      { ...withFields(), messages: {} },
      ['the message Item is gone'],
      { Item: { numbers: [1, 2, 3], names: ['left', 'price', 'sku'] } },
    ],
  ])('%s is a break', (_, model, breaking, reserved) => {
    const assigned = assignNumbers(model, first)
    expect(assigned.breaking).toEqual(breaking)
    expect(assigned.numbers.reserved).toEqual(reserved)
  })

  test('a message that is back begins after its old numbers', () => {
    const gone = assignNumbers({ ...withFields(), messages: {} }, first).numbers
    const { numbers, breaking } = assignNumbers(withFields(['sku']), gone)
    expect(breaking).toEqual([])
    expect(numbers.messages).toEqual({ Item: { sku: [4, 'string'] } })
    expect(numbers.reserved).toEqual({ Item: { numbers: [1, 2, 3], names: ['left', 'price'] } })
  })

  test('passes over the numbers that protobuf keeps for itself', () => {
    const { numbers } = assignNumbers(withFields(['sku'], ['price']), { methods: [], enums: {}, messages: { Item: { sku: [18_999, 'string'] } } })
    expect(numbers.messages.Item?.price).toEqual([20_000, 'string'])
  })
})

test.each([
  [{ sku: [1, 'string'], price: [1, 'int64'] }, ['Item.price has number 1, which is that of sku']],
  [{ sku: [19_500, 'string'] }, ['Item.sku has number 19500, which no field can have']],
  [{ sku: [0, 'string'] }, ['Item.sku has number 0, which no field can have']],
  [{ sku: [7, 'string'] }, ['Item.sku has number 7, which is that of what is gone']],
] as const)('numbers %j are wrong', (Item, lines) => {
  expect(wrongNumbers({ methods: [], enums: {}, messages: { Item } as never, reserved: { Item: { numbers: [7], names: [] } } })).toEqual(lines)
})
