import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { numbersFile, protoFile, protoFiles } from '../../../infra/kit/proto/files.ts'
import { type Contract, defineContract, strict } from '../../../services/chassis/contract/contract.ts'
import type { ProtoNumbers } from '../../../services/chassis/contract/definition.ts'

const item = (more: z.ZodRawShape = {}) =>
  strict({
    sku: z.string().meta({ description: 'As on the label' }),
    price: z.int(),
    state: z.enum(['on-sale', 'gone']).meta({ title: 'Item state' }),
    ...more,
  }).meta({
    title: 'Item',
    description: 'What is sold.\nOne line each.',
  })

const contractOf = (answer: z.ZodType): Contract =>
  defineContract({
    getItem: {
      method: 'GET',
      path: '/items/{sku}',
      summary: 'One item',
      auth: 'none',
      params: z.object({ sku: z.string() }),
      responses: { 200: { description: 'The item', body: answer }, 404: { description: 'None' } },
    },
  })

const stock = (answer: z.ZodType = item()) => ({ name: 'gift-card', contract: contractOf(answer) })
const PROTO = 'proto/gift_card/v1/gift_card.proto'
const KEPT: ProtoNumbers = {
  methods: ['GetItem'],
  messages: {
    GetItemRequest: { sku: [1, 'string'] },
    GetItemResponse: { ok: [1, 'Item'] },
    Item: { sku: [1, 'string'], price: [2, 'int64'], state: [3, 'ItemState'] },
  },
  enums: { ItemState: { ITEM_STATE_ON_SALE: 1, ITEM_STATE_GONE: 2 } },
}
const textOf = (made: ReturnType<typeof protoFiles>) => made.files.get(PROTO) as string
const PRINTED = textOf(protoFiles(stock()))

test('a contract is a .proto with its summaries and descriptions, and a module with its numbers', () => {
  const { files, breaking, wrong } = protoFiles(stock())
  expect({ breaking, wrong }).toEqual({ breaking: [], wrong: [] })
  expect([...files.keys()]).toEqual([protoFile(stock()), numbersFile(stock())])
  expect(files.get(PROTO)).toBe(`// Written by npx fairlead proto from the contract of gift-card.

syntax = "proto3";

package gift_card.v1;

service GiftCardService {
  // One item
  rpc GetItem(GetItemRequest) returns (GetItemResponse);
}

message GetItemRequest {
  string sku = 1;
}

message GetItemResponse {
  oneof answer {
    // The item
    Item ok = 1;
  }
}

// What is sold.
// One line each.
message Item {
  // As on the label
  string sku = 1;
  int64 price = 2;
  ItemState state = 3;
}

enum ItemState {
  ITEM_STATE_UNSPECIFIED = 0;
  ITEM_STATE_ON_SALE = 1;
  ITEM_STATE_GONE = 2;
}
`)
  expect(files.get('services/gift-card/proto.ts')).toContain(
    `export const giftCardProto = {\n  methods: ['GetItem'],\n  messages: {\n    GetItemRequest: {\n      sku: [1, 'string'],\n    },\n`,
  )
})

test('what is gone is reserved in the .proto', () => {
  const changed = stock(strict({ sku: z.string(), size: z.int(), state: z.enum(['gone']).meta({ title: 'ItemState' }) }).meta({ title: 'Item' }))
  const { breaking, ...made } = protoFiles(changed, { kept: KEPT, printed: PRINTED })
  expect(breaking).toEqual(['Item.price is gone', 'ItemState.ITEM_STATE_ON_SALE is gone'])
  expect(textOf({ ...made, breaking })).toContain('message Item {\n  reserved 2;\n  reserved "price";\n  string sku = 1;\n  int64 size = 4;\n')
  expect(textOf({ ...made, breaking })).toContain(
    'enum ItemState {\n  reserved 1;\n  reserved "ITEM_STATE_ON_SALE";\n  ITEM_STATE_UNSPECIFIED = 0;\n',
  )
})

test('numbers in a row are one range', () => {
  const kept = { ...KEPT, reserved: { Item: { numbers: [4, 5, 6, 9], names: [] } } }
  expect(textOf(protoFiles(stock(), { kept }))).toContain('message Item {\n  reserved 4 to 6, 9;\n')
})

describe('a file that somebody edited', () => {
  test.each([
    ['a number', 'int64 price = 2;', 'int64 price = 7;', 'Item.price is 2 in proto.ts and 7 in the .proto'],
    ['a type', 'int64 price = 2;', 'string price = 2;', 'Item.price is int64 in proto.ts and string in the .proto'],
    ['a value of an enum', 'ITEM_STATE_GONE = 2;', 'ITEM_STATE_GONE = 3;', 'ItemState.ITEM_STATE_GONE is 2 in proto.ts and 3 in the .proto'],
    ['a new field', 'int64 price = 2;', 'int64 price = 2;\n  bool sold = 4;', 'Item.sold = 4 is in the .proto alone'],
    ['a reserved number', 'int64 price = 2;', 'int64 price = 2;\n  reserved 8 to 9;', 'Item: 8 is reserved in the .proto alone'],
    ['a method', '  rpc GetItem', '  rpc PutItem(A) returns (B);\n  rpc GetItem', 'the method PutItem is in the .proto alone'],
  ])('%s in the .proto is named', (_, before, after, line) => {
    expect(PRINTED).toContain(before)
    expect(protoFiles(stock(), { kept: KEPT, printed: PRINTED.replace(before, after) }).breaking).toContain(line)
  })

  test('a number in proto.ts is named, and the one that it had is reserved if it is written all the same', () => {
    const kept = { ...KEPT, messages: { ...KEPT.messages, Item: { ...KEPT.messages.Item, price: [7, 'int64'] as const } } }
    const made = protoFiles(stock(), { kept, printed: PRINTED })
    expect(made.breaking).toEqual(['Item.price is 7 in proto.ts and 2 in the .proto'])
    expect(textOf(made)).toContain('message Item {\n  reserved 2;\n')
  })

  test('comments and layout of the .proto are written anew, and break nothing', () => {
    const made = protoFiles(stock(), { kept: KEPT, printed: PRINTED.replaceAll(/^ *\/\/.*\n/gm, '') })
    expect(made.breaking).toEqual([])
    expect(textOf(made)).toBe(PRINTED)
  })
})

test('numbers of a .proto are kept where proto.ts is lost', () => {
  const printed = PRINTED.replace('price = 2;', 'price = 9;\n  reserved 4;')
  const made = protoFiles(stock(item({ size: z.int() })), { printed })
  expect(made.breaking).toEqual([])
  expect(textOf(made)).toContain('int64 price = 9;\n  ItemState state = 3;\n  int64 size = 10;\n')
})
