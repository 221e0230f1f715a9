import { create, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { registryOf } from './fields.ts'
import { REFLECTION_FILES } from './reflection-files.ts'
import { CODES } from './status.ts'

type Asked = { case?: string; value?: unknown }

/** What is told of some files, message by message. @param files each with all that it depends on among them */
export function createReflection(files: readonly FileDescriptorProto[]): (service: string) => (request: Uint8Array) => Uint8Array {
  const byName = new Map(files.map(file => [file.name, file]))
  const bySymbol = new Map(files.flatMap(file => symbolsOf(file).map(symbol => [symbol, file] as const)))
  const services = files.flatMap(file => file.service.map(({ name }) => ({ name: `${file.package}.${name}` })))

  const withDependencies = (file: FileDescriptorProto, told = new Set<FileDescriptorProto>()): Set<FileDescriptorProto> => {
    told.add(file)
    for (const name of file.dependency) {
      const dependency = byName.get(name)
      if (dependency && !told.has(dependency)) withDependencies(dependency, told)
    }
    return told
  }
  const tell = (file: FileDescriptorProto | undefined, asked: unknown): Asked =>
    file
      ? {
          case: 'fileDescriptorResponse',
          value: { fileDescriptorProto: [...withDependencies(file)].map(one => toBinary(FileDescriptorProtoSchema, one)) },
        }
      : refuse('NOT_FOUND', `there is no ${String(asked).slice(0, 200)}`)
  const answer = ({ case: kind, value }: Asked): Asked => {
    if (kind === 'fileByFilename') return tell(byName.get(value as string), value)
    if (kind === 'fileContainingSymbol') return tell(bySymbol.get((value as string).replace(/^\./, '')), value)
    if (kind === 'listServices') return { case: 'listServicesResponse', value: { service: services } }
    // proto3 has no extensions.
    if (kind === 'allExtensionNumbersOfType' && bySymbol.has(value as string))
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: value } }
    if (kind === 'fileContainingExtension' || kind === 'allExtensionNumbersOfType') return refuse('NOT_FOUND', 'there is no such extension')
    return refuse('INVALID_ARGUMENT', 'the request asks for nothing that is known here')
  }

  const registry = registryOf(...REFLECTION_FILES)
  return service => {
    const name = service.slice(0, service.lastIndexOf('.'))
    const [requests, responses] = ['Request', 'Response'].map(kind => registry.getMessage(`${name}.ServerReflection${kind}`) as DescMessage) as [
      DescMessage,
      DescMessage,
    ]
    return bytes => {
      const request = fromBinary(requests, bytes) as unknown as { host: string; messageRequest: Asked }
      const response = { validHost: request.host, originalRequest: request, messageResponse: answer(request.messageRequest) }
      return toBinary(responses, create(responses, response as never))
    }
  }
}

const refuse = (code: keyof typeof CODES, errorMessage: string): Asked => ({
  case: 'errorResponse',
  value: { errorCode: CODES[code], errorMessage },
})

/** Fully qualified names of all that a file declares. */
function symbolsOf({ package: scope, messageType, enumType, service }: FileDescriptorProto): string[] {
  const inMessage = (
    within: string,
    { name, field: fields, nestedType, enumType: enums, oneofDecl }: FileDescriptorProto['messageType'][number],
  ): string[] => {
    const full = `${within}.${name}`
    return [
      full,
      ...[...fields, ...oneofDecl].map(one => `${full}.${one.name}`),
      ...nestedType.flatMap(one => inMessage(full, one)),
      ...enums.flatMap(one => inEnum(full, one)),
    ]
  }
  // Values of an enum are its siblings.
  const inEnum = (within: string, { name, value }: FileDescriptorProto['enumType'][number]) =>
    [name, ...value.map(one => one.name)].map(one => `${within}.${one}`)
  return [
    ...messageType.flatMap(one => inMessage(scope, one)),
    ...enumType.flatMap(one => inEnum(scope, one)),
    ...service.flatMap(({ name, method }) => [name, ...method.map(one => `${name}.${one.name}`)].map(one => `${scope}.${one}`)),
  ]
}
