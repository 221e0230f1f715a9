import { create, createFileRegistry, type FileRegistry, type MessageInitShape } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Cardinality,
  type DescriptorProtoSchema,
  type FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt'

/** For protocols of gRPC's own, whose few messages are written by hand: generated code would need protoc and hundreds of lines. */

export type MessageInit = MessageInitShape<typeof DescriptorProtoSchema>
type FieldInit = MessageInitShape<typeof FieldDescriptorProtoSchema>

export { Type }

export const field = (name: string, number: number, type: Type, more: FieldInit = {}): FieldInit => ({
  name,
  number,
  type,
  label: Cardinality.OPTIONAL,
  ...more,
})

export const list = (name: string, number: number, type: Type | string): FieldInit =>
  field(name, number, typeof type === 'string' ? Type.MESSAGE : type, {
    label: Cardinality.REPEATED,
    ...(typeof type === 'string' && { typeName: type }),
  })

/** One alternative of the message's only oneof. */
export const alternative = (name: string, number: number, type: Type | string): FieldInit =>
  field(name, number, typeof type === 'string' ? Type.MESSAGE : type, { oneofIndex: 0, ...(typeof type === 'string' && { typeName: type }) })

export const fileOf = (init: MessageInitShape<typeof FileDescriptorProtoSchema>): FileDescriptorProto =>
  create(FileDescriptorProtoSchema, { syntax: 'proto3', ...init })

/** @param files each after those that it depends on */
export const registryOf = (...files: FileDescriptorProto[]): FileRegistry => createFileRegistry(create(FileDescriptorSetSchema, { file: files }))
