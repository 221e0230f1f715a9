import {
  create,
  type DescField,
  type DescMessage,
  fromJson,
  isMessage,
  type JsonValue,
  type Message as ProtobufMessage,
  toJson,
} from '@bufbuild/protobuf'
import { type Timestamp, TimestampSchema, ValueSchema } from '@bufbuild/protobuf/wkt'
import type { FieldProblem } from '../contract/failure.ts'
import type { Schema } from './descriptors.ts'
import type { Field, FieldType, Model, Scalar } from './model.ts'

/** Values of a contract as messages, and back. Made once per message. */
export interface Converter {
  toMessage(value: Record<string, unknown>): ProtobufMessage
  /** @param problems takes what no value of the contract can be, by field */
  toValue(message: ProtobufMessage, part: string, problems: FieldProblem[]): Record<string, unknown>
}

type Values = Record<string, unknown>

/** A converter for each message of a model, by its name. */
export function createConverters(model: Model, schema: Schema): (name: string) => Converter {
  const made = new Map<string, Converter>()
  const converter = (name: string): Converter => {
    const known = made.get(name)
    if (known) return known
    const descriptor = schema.message(name)
    const { fields } = model.messages[name] as { fields: Field[] }
    const pairs = fields.map(field => ({ field, local: localName(descriptor, field), value: converterFor(field.type) }))
    const own: Converter = {
      toMessage: values => {
        const init: Values = {}
        for (const { field, local, value } of pairs) {
          const given = Object.hasOwn(values, field.key) ? values[field.key] : undefined
          // null of a field that may be anything is a value.
          if (given === undefined || (given === null && field.type.kind !== 'json')) continue
          if (field.label === 'list') init[local] = (given as unknown[]).map(value.to)
          else if (field.label === 'map') init[local] = Object.fromEntries(Object.entries(given as Values).map(([key, one]) => [key, value.to(one)]))
          else init[local] = value.to(given)
        }
        return create(descriptor, init as never)
      },
      toValue: (message, part, problems) => {
        const values: Values = {}
        for (const { field, local, value } of pairs) {
          const held = (message as unknown as Values)[local]
          const where = part ? `${part}.${field.key}` : field.key
          const back = (one: unknown, at: string) => value.from(one, at, problems)
          if (field.label === 'list') {
            const list = (held as unknown[]).map((one, i) => back(one, `${where}.${i}`))
            if (list.length > 0 || !field.absentWhenEmpty) values[field.key] = list
          } else if (field.label === 'map') {
            const map = Object.entries(held as Values).map(([key, one]) => {
              TEXT.from(key, where, problems)
              return [key, back(one, `${where}.${key}`)]
            })
            if (map.length > 0 || !field.absentWhenEmpty) values[field.key] = Object.fromEntries(map)
          } else {
            const one = held === undefined ? undefined : back(held, where)
            if (one !== undefined) values[field.key] = one
            else if (field.nullable) values[field.key] = null
          }
        }
        return values
      },
    }
    made.set(name, own)
    return own
  }

  const converterFor = (type: FieldType): ValueConverter => {
    if (type.kind === 'timestamp') return TIMESTAMP
    if (type.kind === 'json') return JSON_VALUE
    if (type.kind === 'scalar') return SCALARS[type.scalar] ?? AS_IT_IS
    if (type.kind === 'enum') return enumConverter(type.name)
    if (type.kind !== 'message') return AS_IT_IS
    // Asked for late, since a message may hold itself.
    return {
      to: value => converter(type.name).toMessage(value as Values),
      from: (value, at, p) => converter(type.name).toValue(value as never, at, p),
    }
  }

  const enumConverter = (name: string): ValueConverter => {
    const written = new Map(schema.enum(name).values.map(({ name: value, number }) => [value, number]))
    const numbers = new Map(Object.entries(model.enums[name] ?? {}).map(([value, inProto]) => [value, written.get(inProto) as number]))
    const values = new Map([...numbers].map(([value, number]) => [number, value]))
    return {
      to: value => numbers.get(value as string),
      from: (value, field, problems) => {
        // 0 is UNSPECIFIED: absent.
        if (value !== 0 && !values.has(value as number)) problems.push({ field, message: `is ${value}, which ${name} does not have` })
        return values.get(value as number)
      },
    }
  }

  return converter
}

const fieldOf = (descriptor: DescMessage, { name }: Field) => descriptor.fields.find(field => field.name === name) as DescField

const localName = (descriptor: DescMessage, field: Field) => fieldOf(descriptor, field).localName

interface ValueConverter {
  to(value: unknown): unknown
  /** undefined: it is not there, or it is not a value; then a problem says so. */
  from(value: unknown, field: string, problems: FieldProblem[]): unknown
}

const AS_IT_IS: ValueConverter = { to: value => value, from: value => value }

/** As JSON of HTTP's bodies: Postgres cannot store a NUL. */
const TEXT: ValueConverter = {
  to: value => value,
  from: (value, field, problems) => {
    if ((value as string).includes('\0')) problems.push({ field, message: 'has a NUL character' })
    return value
  },
}

const INTEGER: ValueConverter = {
  to: value => BigInt(value as number),
  from: (value, field, problems) => {
    const number = Number(value)
    if (Number.isSafeInteger(number)) return number
    problems.push({ field, message: 'is not between -(2^53 - 1) and 2^53 - 1' })
    return undefined
  },
}

const SCALARS: Partial<Record<Scalar, ValueConverter>> = { string: TEXT, int64: INTEGER }

/** RFC 3339 in UTC, with as many digits of a second as it came with: 3, 6 or 9. */
const TIMESTAMP: ValueConverter = {
  to: value => {
    const [, fraction = ''] = /\.(\d{1,9})/.exec(value as string) ?? []
    const seconds = BigInt(Math.floor(Date.parse(value as string) / 1_000))
    return create(TimestampSchema, { seconds, nanos: Number(fraction.padEnd(9, '0')) })
  },
  from: (value, field, problems) => {
    const { seconds, nanos } = value as Timestamp
    const time = new Date(Number(seconds) * 1_000)
    if (!Number.isNaN(time.getTime()) && nanos >= 0 && nanos <= 999_999_999)
      return time.toISOString().replace(
        '000Z',
        `${String(nanos)
          .padStart(9, '0')
          .replace(/(?:000){1,2}$/, '')}Z`,
      )
    problems.push({ field, message: 'is not a point in time' })
    return undefined
  },
}

const JSON_VALUE: ValueConverter = {
  to: value => fromJson(ValueSchema, value as JsonValue),
  from: (value, field, problems) => {
    try {
      const json = toJson(ValueSchema, value as never)
      checkJson(json, field, problems)
      return json
    } catch {
      problems.push({ field, message: 'is not a JSON value' })
      return undefined
    }
  },
}

/** Levels of objects and arrays that a value may nest, as in a body of HTTP. */
const MAX_DEPTH = 16

function checkJson(value: JsonValue, field: string, problems: FieldProblem[], depth = 0): void {
  if (typeof value === 'string') TEXT.from(value, field, problems)
  if (typeof value !== 'object' || value === null) return
  if (depth === MAX_DEPTH) {
    problems.push({ field, message: `has more than ${MAX_DEPTH} levels` })
    return
  }
  for (const [key, one] of Object.entries(value)) {
    TEXT.from(key, field, problems)
    checkJson(one, field, problems, depth + 1)
  }
}

/** How many fields of a message, at any depth, the schema does not know. */
export function countUnknown(message: ProtobufMessage): number {
  let count = message.$unknown?.length ?? 0
  for (const value of Object.values(message)) count += countIn(value)
  return count
}

function countIn(value: unknown): number {
  if (isMessage(value)) return countUnknown(value)
  if (Array.isArray(value)) return value.reduce<number>((sum, one) => sum + countIn(one), 0)
  // A oneof, or a map.
  if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array))
    return Object.values(value).reduce<number>((sum, one) => sum + countIn(one), 0)
  return 0
}
