import type { z } from 'zod'
import { type JsonSchema, schemaOf } from './json-schema.ts'
import type { Field, FieldType, Message, Model } from './model.ts'
import { enumValueName, fieldName, titleName, typeName } from './names.ts'

export type Draft = ReturnType<typeof createDraft>

/** What two messages of one name may differ in. */
const alike = (a: object, b: object) => {
  const text = (value: object) => JSON.stringify(value, (key, one) => (key === 'description' ? undefined : one))
  return text(a) === text(b)
}

/** Turns schemas into fields, and puts the messages and enums that they need into the model. */
export function createDraft(model: Model, complain: (problem: string) => void) {
  /** Messages that are being made: one may hold itself. */
  const open = new Map<JsonSchema, string>()

  const message = (name: string, made: Message) => {
    const names = new Map<string, string>()
    for (const { key, name: field } of made.fields) {
      const other = names.get(field)
      if (other !== undefined) complain(`${key} and ${other} both are ${name}.${field}`)
      names.set(field, key)
    }
    const known = model.messages[name]
    if (known && !alike(known, made)) complain(`two different schemas are the message ${name}: give one another title`)
    model.messages[name] ??= made
  }

  const enumeration = (name: string, values: string[]): FieldType => {
    const made = Object.fromEntries(values.map(value => [value, enumValueName(name, value)]))
    const known = model.enums[name]
    if (known && !alike(known, made)) complain(`two different schemas are the enum ${name}: give one another title`)
    model.enums[name] ??= made
    return { kind: 'enum', name }
  }

  const fields = (within: string, { properties = {}, required = [] }: JsonSchema) =>
    Object.entries(properties).map(([key, schema]) => field(within, key, schema, required.includes(key)))

  const field = (within: string, key: string, given: JsonSchema, required: boolean): Field => {
    const { schema, nullable } = withoutNull(given)
    const where = `${within}.${key}`
    if (nullable && !required) complain(`${where} may be absent and null, which a message cannot tell apart`)
    const context = typeName(within.replace(/(Request|Response)$/, ''), key)
    // What a message is said to be, it says itself.
    const description = given.description ?? (schema.properties ? undefined : schema.description)
    const base = {
      key,
      name: fieldName(key),
      ...(nullable && { nullable: true as const }),
      ...(description !== undefined && !(schema.properties && description === schema.description) && { description }),
    }
    const many = { ...base, ...(!required && { absentWhenEmpty: true as const }) }
    if (nullable && (schema.type === 'array' || isMap(schema))) complain(`${where} may be null and empty, which a message cannot tell apart`)
    if (schema.type === 'array') {
      if (schema.prefixItems) complain(`${where} is a tuple, which no list is: make it an object`)
      return { ...many, type: valueType(context, schema.items || {}, `${where}[]`), label: 'list' }
    }
    if (isMap(schema)) {
      const values = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : {}
      return { ...many, type: valueType(context, values, `${where}{}`), label: 'map' }
    }
    return { ...base, type: valueType(context, schema, where), label: required && !nullable ? 'one' : 'optional' }
  }

  const objectType = (name: string, schema: JsonSchema, where: string): FieldType => {
    if (typeof schema.additionalProperties === 'object') complain(`${where} takes members that it does not name, which no message can hold`)
    open.set(schema, name)
    const { description } = schema
    message(name, { fields: fields(name, schema), ...(description !== undefined && { description }) })
    open.delete(schema)
    return { kind: 'message', name }
  }

  const valueType = (context: string, schema: JsonSchema, where: string): FieldType => {
    const { type, format } = schema
    const name = schema.title === undefined ? context : titleName(schema.title)
    const known = open.get(schema)
    if (known !== undefined) return { kind: 'message', name: known }
    if (schema.oneOf || schema.allOf || schema.anyOf) complain(`${where} is a union or an intersection, which has no one message`)
    else if (schema.enum && type === 'string') return enumeration(name, schema.enum.map(String))
    else if (schema.enum && type === undefined) complain(`${where} is one of values of different types, which no enum has`)
    else if (type === 'string') return format === 'date-time' ? { kind: 'timestamp' } : { kind: 'scalar', scalar: 'string' }
    else if (type === 'integer') return { kind: 'scalar', scalar: 'int64' }
    else if (type === 'number') return { kind: 'scalar', scalar: 'double' }
    else if (type === 'boolean') return { kind: 'scalar', scalar: 'bool' }
    else if (type === 'object' && schema.properties) return objectType(name, schema, where)
    else if (type === 'array' || type === 'object') complain(`${where} is a list or a map inside of another: wrap it in an object`)
    else if (type !== undefined) complain(`${where} is of type ${type}, which no message has`)
    return { kind: 'json' }
  }

  return {
    message,
    fields,
    field,
    fieldsOf: (within: string, schema: z.ZodType | undefined) => (schema ? fields(within, schemaOf(schema)) : []),
    /** One 2xx answer; a list or a map is wrapped, since an alternative is a single value. */
    alternative: (within: string, name: string, answer: z.ZodType | undefined): Field => {
      if (!answer) return { key: name, name, type: { kind: 'empty' }, label: 'one' }
      const schema = schemaOf(answer)
      const context = typeName(within.replace(/Response$/, ''), name)
      if (schema.properties) return { key: name, name, type: valueType(context, schema, within), label: 'one' }
      message(context, { fields: [field(context, 'value', schema, true)], wraps: true })
      return { key: name, name, type: { kind: 'message', name: context }, label: 'one' }
    },
  }
}

const isMap = ({ type, properties }: JsonSchema) => type === 'object' && !properties

function withoutNull(schema: JsonSchema): { schema: JsonSchema; nullable: boolean } {
  const { type, anyOf } = schema
  if (Array.isArray(type) && type.length === 2 && type.includes('null'))
    return { schema: { ...schema, type: type.find(one => one !== 'null') as string }, nullable: true }
  const rest = anyOf?.filter(one => one.type !== 'null')
  return rest?.length === 1 && anyOf?.length === 2 ? { schema: rest[0] as JsonSchema, nullable: true } : { schema, nullable: false }
}
