import type { Contract, Operation } from '../contract/contract.ts'
import { DefinitionError } from '../contract/definition-error.ts'
import { clashesOf } from './clashes.ts'
import { createDraft, type Draft } from './draft.ts'
import { schemaOf } from './json-schema.ts'
import { fieldName, methodName, serviceName } from './names.ts'

export type Scalar = 'string' | 'int64' | 'double' | 'bool'

/** What one value of a field is. Messages and enums are named; the model holds them. */
export type FieldType =
  | { kind: 'scalar'; scalar: Scalar }
  | { kind: 'timestamp' }
  | { kind: 'json' }
  | { kind: 'empty' }
  | { kind: 'enum'; name: string }
  | { kind: 'message'; name: string }

export interface Field {
  /** As the contract writes it. */
  key: string
  /** As the .proto writes it. */
  name: string
  type: FieldType
  /** `one`: absent means the type's default. `optional`: absent is told from the default. */
  label: 'one' | 'optional' | 'list' | 'map'
  /** Absent means null. */
  nullable?: true
  /** A list or a map that need not be there: an empty one is not told from none. */
  absentWhenEmpty?: true
  description?: string
}

export interface Message {
  fields: Field[]
  /** The fields are alternatives, of which one is set. */
  oneof?: string
  /** Its one field, `value`, is the whole value: a list or a map where only a message can be. */
  wraps?: true
  description?: string
}

export interface Method {
  /** The operation's name in the contract. */
  operation: string
  name: string
  summary: string
  request: string
  response: string
  /** Where each part of a request is: in fields of the request itself, or in one field of that name. */
  body?: 'fields' | 'field'
  /** Status of each alternative of the response, by field name. */
  statuses: Record<string, number>
}

/** A contract as protobuf has it, without numbers. */
export interface Model {
  /** Package of the messages, e.g. `user.v1`. */
  package: string
  service: string
  methods: Method[]
  messages: Record<string, Message>
  /** Values of each enum: names in the .proto by values of the contract. */
  enums: Record<string, Record<string, string>>
}

/** A field's type as the .proto writes it. Messages have presence of themselves, so that none is `optional`. */
export function typeText({ type, label }: Pick<Field, 'type' | 'label'>): string {
  const text = WELL_KNOWN_TYPES[type.kind]?.name ?? (type.kind === 'scalar' ? type.scalar : (type as { name: string }).name)
  if (label === 'list') return `repeated ${text}`
  if (label === 'map') return `map<string, ${text}>`
  return label === 'optional' && (type.kind === 'scalar' || type.kind === 'enum') ? `optional ${text}` : text
}

const WELL_KNOWN_TYPES: Partial<Record<FieldType['kind'], { name: string; file: string }>> = {
  empty: { name: 'google.protobuf.Empty', file: 'google/protobuf/empty.proto' },
  json: { name: 'google.protobuf.Value', file: 'google/protobuf/struct.proto' },
  timestamp: { name: 'google.protobuf.Timestamp', file: 'google/protobuf/timestamp.proto' },
}

/** The files of protobuf's own that a model's messages need, sorted. */
export function importsOf({ messages }: Pick<Model, 'messages'>): string[] {
  const used = new Set(Object.values(messages).flatMap(({ fields }) => fields.map(({ type }) => type.kind)))
  return Object.entries(WELL_KNOWN_TYPES).flatMap(([kind, { file }]) => (used.has(kind as FieldType['kind']) ? [file] : []))
}

/** Names of the alternatives of a response, RFC 9110 section 15.3. */
const ALTERNATIVES: Record<number, string> = {
  200: 'ok',
  201: 'created',
  202: 'accepted',
  203: 'non_authoritative',
  204: 'no_content',
  205: 'reset_content',
  206: 'partial_content',
}

/**
 * The messages and methods of a contract. What HTTP alone can say (documents of the contract, key sets, answers that are no 2xx) is left out.
 * @throws DefinitionError naming every part that no protobuf message can hold
 */
export function modelOf(service: { name: string; contract: Contract }): Model {
  const model: Model = {
    package: `${service.name.replaceAll('-', '_')}.v1`,
    service: serviceName(service.name),
    methods: [],
    messages: {},
    enums: {},
  }
  const problems: string[] = []
  for (const [name, operation] of Object.entries<Operation>(service.contract)) {
    if (operation.httpOnly) continue
    const draft = createDraft(model, complaint => problems.push(`${name}: ${complaint}`))
    model.methods.push(methodOf(draft, name, operation))
  }
  problems.push(...clashesOf(model))
  if (problems.length > 0) throw new DefinitionError(`${service.name} cannot be served by gRPC: ${problems.join('; ')}`)
  return { ...model, messages: inOrder(model) }
}

/** Each method's request and response, then what they are made of. */
function inOrder({ methods, messages }: Model): Model['messages'] {
  const first = methods.flatMap(({ request, response }) => [request, response])
  return Object.fromEntries([...new Set([...first, ...Object.keys(messages)])].map(name => [name, messages[name] as Message]))
}

function methodOf(draft: Draft, operation: string, { summary, params, query, body, responses }: Operation): Method {
  const name = methodName(operation)
  const request = `${name}Request`
  const own = [...draft.fieldsOf(request, params), ...draft.fieldsOf(request, query)]
  const bodySchema = body && schemaOf(body)
  const inBody = Object.keys(bodySchema?.properties ?? {}).map(fieldName)
  const clash = own.some(({ name: one }) => inBody.includes(one))
  const bodyIs = !bodySchema ? undefined : bodySchema.properties && !clash ? 'fields' : 'field'
  const fields = [
    ...own,
    ...(bodyIs === 'fields' ? draft.fields(request, bodySchema ?? {}) : []),
    ...(bodyIs === 'field' ? [draft.field(request, 'body', bodySchema ?? {}, true)] : []),
  ]
  draft.message(request, { fields })
  const statuses: Record<string, number> = {}
  const alternatives: Field[] = []
  for (const [text, { body: answer, description }] of Object.entries(responses)) {
    const status = Number(text)
    if (status < 200 || status > 299) continue
    const alternative = ALTERNATIVES[status] ?? `status_${status}`
    statuses[alternative] = status
    alternatives.push({ ...draft.alternative(`${name}Response`, alternative, answer), description })
  }
  draft.message(`${name}Response`, { fields: alternatives, oneof: 'answer' })
  return { operation, name, summary, request, response: `${name}Response`, ...(bodyIs && { body: bodyIs }), statuses }
}
