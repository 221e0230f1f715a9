import { z } from 'zod'
import type { Contract, Operation } from './contract.ts'
import { DEADLINE_HEADER } from './deadline.ts'
import { KEY_SCHEMA, REPLAYED_HEADER } from './idempotency-key.ts'
import { PROBLEM_CONTENT_TYPE, problemDocument } from './problem-document.ts'

export interface OpenApiInfo {
  title: string
  version: string
  description: string
}

type Json = Record<string, unknown>

/** What is common to all operations. */
const ALWAYS = `A request of another service may carry \`${DEADLINE_HEADER}\`: the whole milliseconds that it still waits, clamped to the service's maximum.`

/** The OpenAPI 3.1 document of a contract, with every answer that its operations can give. */
export function openApi(contract: Contract, info: OpenApiInfo): Json {
  const paths: Record<string, Json> = {}
  for (const [operationId, operation] of Object.entries(contract)) {
    paths[operation.path] = { ...paths[operation.path], [operation.method.toLowerCase()]: describe(operationId, operation) }
  }
  return {
    openapi: '3.1.0',
    info: { ...info, description: `${info.description}\n\n${ALWAYS}`, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        user: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'Access token from POST /sessions' },
        workload: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'Projected ServiceAccount token of a calling service' },
      },
    },
  }
}

const documentAt = <const P extends `/${string}`>(path: P) =>
  ({
    method: 'GET',
    path,
    summary: 'This contract as OpenAPI 3.1',
    auth: 'none',
    httpOnly: true,
    responses: { 200: { description: 'The document', body: z.record(z.string(), z.unknown()), example: { openapi: '3.1.0' } } },
  }) as const satisfies Operation

/** The operation that serves the document itself; each contract has it. */
export const openApiOperation = { ...documentAt('/openapi.json'), internal: true } as const satisfies Operation

/** The same where many services share one host. */
export const openApiOperationOf = <const N extends string>(service: N) => documentAt(`/openapi/${service}.json`)

/** The handler of both. */
export function serveOpenApi(contract: Contract, info: OpenApiInfo) {
  const document = openApi(contract, info)
  return async () => ({ status: 200 as const, body: document, headers: { 'cache-control': 'public, max-age=60' } })
}

const jsonSchema = (schema: z.ZodType, io: 'input' | 'output' = 'input'): Json => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, reused: 'inline', unrepresentable: 'any' })
  return rest
}

function describe(operationId: string, operation: Operation): Json {
  const { summary, auth, body, bodyExample } = operation
  return {
    operationId,
    summary,
    ...(auth !== 'none' && { security: [{ [auth]: [] }] }),
    parameters: [
      ...parametersOf('path', operation.params),
      ...parametersOf('query', operation.query),
      ...(operation.idempotencyKey ? [KEY_PARAMETER] : []),
    ],
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: jsonSchema(body), ...(bodyExample !== undefined && { example: bodyExample }) } },
      },
    }),
    responses: { ...declared(operation), ...problemResponses(operation) },
  }
}

const KEY_PARAMETER = {
  name: 'Idempotency-Key',
  in: 'header',
  required: true,
  description: 'Names this request for 24 hours: repeating it with the same key and body has no further effect',
  schema: KEY_SCHEMA,
}

function parametersOf(place: 'path' | 'query', schema: z.ZodObject | undefined): Json[] {
  if (!schema) return []
  const { properties = {}, required = [] } = jsonSchema(schema) as { properties?: Record<string, Json>; required?: string[] }
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: property,
  }))
}

const headersOf = (headers: Record<string, string> = {}): Json =>
  Object.fromEntries(Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }]))

function declared({ responses, idempotencyKey }: Operation): Json {
  const always = idempotencyKey && { [REPLAYED_HEADER]: '`true` on an answer that was given before' }
  return Object.fromEntries(
    Object.entries(responses).map(([status, { description, body, headers: own, example }]) => {
      const headers = own || always ? { ...own, ...always } : undefined
      return [
        status,
        {
          description,
          ...(headers && { headers: headersOf(headers) }),
          ...(body && { content: { 'application/json': { schema: jsonSchema(body), ...(example !== undefined && { example }) } } }),
        },
      ]
    }),
  )
}

/** What the chassis itself can answer for an operation, by status. */
function commonProblems({ auth, body, idempotencyKey }: Operation): Record<number, string[] | undefined> {
  return {
    400: idempotencyKey ? ['invalid-request', 'idempotency-key-required'] : ['invalid-request'],
    ...(idempotencyKey && { 409: ['idempotency-conflict'], 422: ['idempotency-key-reused'] }),
    ...(auth !== 'none' && { 401: ['unauthorized'] }),
    ...(auth === 'workload' && { 403: ['forbidden'] }),
    ...(body && { 408: ['request-timeout'], 413: ['body-too-large'], 415: ['unsupported-media-type'] }),
    429: ['too-many-requests'],
    431: ['headers-too-large'],
    500: ['internal'],
    503: ['overloaded', 'unavailable'],
    504: ['deadline-exceeded'],
  }
}

const PROBLEM_HEADERS: Record<number, Record<string, string>> = {
  401: { 'WWW-Authenticate': 'The Bearer challenge (RFC 6750)' },
  429: { 'Retry-After': 'Seconds to wait' },
  503: { 'Retry-After': 'Seconds to wait' },
}

/** Every problem code that an operation can answer, by status: the chassis' own and those of its contract. */
export function problemCodes(operation: Operation): Record<string, string[]> {
  const all: Record<string, string[]> = {}
  for (const source of [commonProblems(operation), operation.problems ?? {}]) {
    for (const [status, codes] of Object.entries(source)) all[status] = [...(all[status] ?? []), ...(codes ?? [])]
  }
  return all
}

function problemResponses(operation: Operation): Json {
  return Object.fromEntries(
    Object.entries(problemCodes(operation)).map(([status, codes]) => [
      status,
      {
        description: codes.join(', '),
        ...(PROBLEM_HEADERS[Number(status)] && { headers: headersOf(PROBLEM_HEADERS[Number(status)]) }),
        content: {
          [PROBLEM_CONTENT_TYPE]: {
            schema: problemSchema(Number(status), codes),
            example: problemDocument({ status: Number(status), code: codes[0] as string, detail: 'What went wrong, for people' }),
          },
        },
      },
    ]),
  )
}

const problemSchema = (status: number, codes: string[]): Json => ({
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { const: status },
    detail: { type: 'string' },
    code: { enum: codes },
    errors: {
      type: 'array',
      items: { type: 'object', required: ['field', 'message'], properties: { field: { type: 'string' }, message: { type: 'string' } } },
    },
  },
})
