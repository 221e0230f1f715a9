import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf'
import type { ServiceDefinition } from '../contract/definition.ts'
import { DefinitionError } from '../contract/definition-error.ts'
import { Failure, type FieldProblem, invalidRequest } from '../contract/failure.ts'
import { type Converter, countUnknown, createConverters } from './convert.ts'
import { type Schema, schemaOf } from './descriptors.ts'
import { type Method, type Model, modelOf } from './model.ts'

export interface Parts {
  params?: unknown
  query?: unknown
  body?: unknown
}

/** One operation of a contract as a method of gRPC. */
export interface RpcMethod {
  operationId: string
  /** `user.v1.UserService/ReserveCredit`: how traces and metrics call it. */
  name: string
  writeRequest(parts: Parts): Uint8Array
  /**
   * The parts as a handler's validation takes them.
   * @throws Failure `invalid-request` for what is no such message
   */
  readRequest(bytes: Uint8Array): { parts: Parts; unknownFields: number }
  writeAnswer(answer: { status: number; body?: unknown }): Uint8Array
  /** @throws Error for what is no such message, or holds no alternative that is known */
  readAnswer(bytes: Uint8Array): { status: number; body: unknown }
}

export interface Rpc {
  schema: Schema
  methods: RpcMethod[]
}

const known = new WeakMap<object, Rpc>()

/**
 * A service's operations as methods of gRPC; made once.
 * @throws DefinitionError where it is not served by gRPC, or its numbers are not those of its contract
 */
export function rpcOf(service: Pick<ServiceDefinition, 'name' | 'contract' | 'grpc'>): Rpc {
  if (!service.grpc) throw new DefinitionError(`${service.name} is not served by gRPC: run npx fairlead proto, and give its definition \`grpc\``)
  const made = known.get(service.grpc)
  if (made) return made
  const model = modelOf(service)
  const schema = schemaOf(service, model, service.grpc.numbers)
  const converterOf = createConverters(model, schema)
  const methods = model.methods.map(method => rpcMethod(service, model, schema, converterOf, method))
  const rpc = { schema, methods }
  known.set(service.grpc, rpc)
  return rpc
}

function rpcMethod(
  { contract }: Pick<ServiceDefinition, 'contract'>,
  model: Model,
  schema: Schema,
  converterOf: (message: string) => Converter,
  method: Method,
): RpcMethod {
  const request = schema.message(method.request)
  const requestConverter = converterOf(method.request)
  const operation = contract[method.operation]
  const keysOf = (part: 'params' | 'query') => (operation?.[part] ? Object.keys(operation[part].shape) : undefined)
  const [params, query] = [keysOf('params'), keysOf('query')]
  const answers = answersOf(model, schema.message(method.response), converterOf, method)
  return {
    operationId: method.operation,
    name: `${model.package}.${model.service}/${method.name}`,
    writeRequest: ({ params, query, body }) =>
      toBinary(
        request,
        requestConverter.toMessage({
          ...(params as object),
          ...(query as object),
          ...(method.body === 'fields' ? (body as object) : method.body && { body }),
        }),
      ),
    readRequest: bytes => {
      const message = parse(request, bytes)
      const problems: FieldProblem[] = []
      const values = requestConverter.toValue(message, '', problems)
      if (problems.length > 0) throw invalidRequest(problems)
      const unknownFields = countUnknown(message)
      const pick = (keys: string[] | undefined) =>
        keys && Object.fromEntries(keys.filter(key => Object.hasOwn(values, key)).map(key => [key, values[key]]))
      const own = new Set([...(params ?? []), ...(query ?? [])])
      const others = Object.fromEntries(Object.entries(values).filter(([key]) => !own.has(key)))
      const body = method.body === 'fields' ? others : others.body
      return { parts: { params: pick(params), query: pick(query), body }, unknownFields }
    },
    ...answers,
  }
}

/** @throws Failure `invalid-request` for bytes that are no such message, invalid UTF-8 among them */
function parse(descriptor: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(descriptor, bytes)
  } catch (error) {
    throw new Failure('invalid', 'invalid-request', `The message is not a ${descriptor.typeName} in protobuf's encoding`, { cause: error })
  }
}

interface Alternative {
  status: number
  local: string
  write(body: unknown): unknown
  read(value: Message): unknown
}

/** A response is one message with an alternative for each declared 2xx answer. */
function answersOf(
  model: Model,
  descriptor: DescMessage,
  converterOf: (message: string) => Converter,
  { name, statuses, response }: Method,
): Pick<RpcMethod, 'writeAnswer' | 'readAnswer'> {
  const { fields } = model.messages[response] as Model['messages'][string]
  const alternatives = fields.map(({ name: field, type }): Alternative => {
    const base = { status: statuses[field] as number, local: descriptor.fields.find(one => one.name === field)?.localName as string }
    if (type.kind !== 'message') return { ...base, write: () => ({}), read: () => undefined }
    const { toMessage, toValue } = converterOf(type.name)
    const wraps = model.messages[type.name]?.wraps
    return {
      ...base,
      write: body => toMessage(wraps ? { value: body } : (body as Record<string, unknown>)),
      read: value => {
        const problems: FieldProblem[] = []
        const values = toValue(value, 'answer', problems)
        if (problems.length > 0) throw new Error(problems.map(({ field, message }) => `${field} ${message}`).join('; '))
        return wraps ? values.value : values
      },
    }
  })
  return {
    writeAnswer: ({ status, body }) => {
      const alternative = alternatives.find(one => one.status === status)
      if (!alternative) throw new Error(`${name} was answered with ${status}, which is none of ${Object.values(statuses).join(', ')}`)
      return toBinary(descriptor, create(descriptor, { answer: { case: alternative.local, value: alternative.write(body) } } as never))
    },
    readAnswer: bytes => {
      const { answer } = fromBinary(descriptor, bytes) as unknown as { answer: { case?: string; value: Message } }
      const alternative = alternatives.find(({ local }) => local === answer.case)
      if (!alternative) throw new Error(`the answer to ${name} holds none of ${fields.map(field => field.name).join(', ')}`)
      return { status: alternative.status, body: alternative.read(answer.value) }
    },
  }
}
