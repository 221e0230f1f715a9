import { create, createFileRegistry, type DescEnum, type DescMessage, type DescService, type MessageInitShape } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Cardinality,
  type DescriptorProtoSchema,
  type FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_empty,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt'
import type { ProtoNumbers } from '../contract/definition.ts'
import { DefinitionError } from '../contract/definition-error.ts'
import { type Field, type FieldType, importsOf, type Message, type Model, type Scalar, typeText } from './model.ts'
import { enumValueName, jsonName, mapEntryName } from './names.ts'

type FieldInit = MessageInitShape<typeof FieldDescriptorProtoSchema>
type MessageInit = MessageInitShape<typeof DescriptorProtoSchema>

/** A service's schema as protobuf's own library takes it. */
export interface Schema {
  file: FileDescriptorProto
  service: DescService
  message(name: string): DescMessage
  enum(name: string): DescEnum
}

/** Which a service's file imports. */
export const WELL_KNOWN = [file_google_protobuf_empty, file_google_protobuf_struct, file_google_protobuf_timestamp]

/** Path of a service's .proto, as imports and buf have it. */
export const protoPath = (service: { name: string }): string => {
  const name = service.name.replaceAll('-', '_')
  return `${name}/v1/${name}.proto`
}

/**
 * Joins a model with the numbers that were given to it.
 * @throws DefinitionError naming what has no number, or one for another type
 */
export function schemaOf(service: { name: string }, model: Model, numbers: ProtoNumbers): Schema {
  const problems = unnumbered(model, numbers)
  if (problems.length > 0) throw new DefinitionError(`${service.name}: ${problems.join('; ')}: run npx fairlead proto`)
  const file = create(FileDescriptorProtoSchema, {
    name: protoPath(service),
    package: model.package,
    syntax: 'proto3',
    dependency: importsOf(model),
    messageType: Object.entries(model.messages).map(([name, message]) => messageOf(model, numbers, name, message)),
    enumType: Object.entries(model.enums).map(([name, values]) => enumOf(numbers, name, values)),
    service: [
      {
        name: model.service,
        method: model.methods.map(({ name, request, response }) => ({ name, inputType: full(model, request), outputType: full(model, response) })),
      },
    ],
  })
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...WELL_KNOWN.map(({ proto }) => proto), file] }))
  return {
    file,
    service: registry.getService(`${model.package}.${model.service}`) as DescService,
    message: name => registry.getMessage(`${model.package}.${name}`) as DescMessage,
    enum: name => registry.getEnum(`${model.package}.${name}`) as DescEnum,
  }
}

function unnumbered(model: Model, { methods, messages, enums }: ProtoNumbers): string[] {
  const problems: string[] = []
  for (const { name } of model.methods) if (!methods.includes(name)) problems.push(`${name} is not in its .proto`)
  for (const [name, { fields }] of Object.entries(model.messages)) {
    for (const field of fields) {
      const [, type] = numberOf(messages[name], field.name) ?? []
      if (type === undefined) problems.push(`${name}.${field.name} has no number`)
      else if (type !== typeText(field)) problems.push(`${name}.${field.name} is ${typeText(field)} and was ${type}`)
    }
  }
  for (const [name, values] of Object.entries(model.enums))
    for (const value of Object.values(values)) if (enums[name]?.[value] === undefined) problems.push(`${name}.${value} has no number`)
  return problems
}

/** A field may be called `constructor`. */
const numberOf = (fields: ProtoNumbers['messages'][string] | undefined, name: string) =>
  fields && Object.hasOwn(fields, name) ? fields[name] : undefined

const full = (model: Model, name: string) => `.${model.package}.${name}`

function enumOf({ enums }: ProtoNumbers, name: string, values: Record<string, string>) {
  const numbered = Object.values(values).map(value => ({ name: value, number: enums[name]?.[value] as number }))
  return { name, value: [{ name: enumValueName(name, 'unspecified'), number: 0 }, ...numbered] }
}

function messageOf(model: Model, { messages }: ProtoNumbers, name: string, { fields, oneof }: Message): MessageInit {
  const nestedType: MessageInit[] = []
  const oneofDecl = oneof ? [{ name: oneof }] : []
  const field = fields.map((one): FieldInit => {
    const [number] = numberOf(messages[name], one.name) ?? [0]
    const base = { name: one.name, number, jsonName: jsonName(one.name) }
    if (one.label === 'map') {
      const entry = mapEntry(model, one)
      nestedType.push(entry)
      return { ...base, type: Type.MESSAGE, typeName: `${full(model, name)}.${entry.name}`, label: Cardinality.REPEATED }
    }
    if (one.label === 'list') return { ...base, ...typeOf(model, one.type), label: Cardinality.REPEATED }
    const single = { ...base, ...typeOf(model, one.type), label: Cardinality.OPTIONAL }
    if (oneof) return { ...single, oneofIndex: 0 }
    // Messages have presence of themselves; for the others the language has it by a oneof of one.
    if (one.label === 'one' || single.type === Type.MESSAGE) return single
    oneofDecl.push({ name: `_${one.name}` })
    return { ...single, proto3Optional: true, oneofIndex: oneofDecl.length - 1 }
  })
  return { name, field, nestedType, oneofDecl }
}

function mapEntry(model: Model, { name, type }: Field) {
  const entry = mapEntryName(name)
  return {
    name: entry,
    options: { mapEntry: true },
    field: [
      { name: 'key', number: 1, jsonName: 'key', type: Type.STRING, label: Cardinality.OPTIONAL },
      { name: 'value', number: 2, jsonName: 'value', ...typeOf(model, type), label: Cardinality.OPTIONAL },
    ],
  } satisfies MessageInit
}

const SCALARS: Record<Scalar, Type> = { string: Type.STRING, int64: Type.INT64, double: Type.DOUBLE, bool: Type.BOOL }

function typeOf(model: Model, type: FieldType): { type: Type; typeName?: string } {
  if (type.kind === 'scalar') return { type: SCALARS[type.scalar] }
  if (type.kind === 'enum') return { type: Type.ENUM, typeName: full(model, type.name) }
  if (type.kind === 'message') return { type: Type.MESSAGE, typeName: full(model, type.name) }
  return { type: Type.MESSAGE, typeName: `.${typeText({ type, label: 'one' })}` }
}
