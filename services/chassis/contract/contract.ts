import { z } from 'zod'
import { type Bounds, boundsOf } from './bounds.ts'
import { DefinitionError } from './definition-error.ts'
import { type FieldProblem, invalidRequest, MAX_PROBLEMS } from './failure.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Who may call an operation: anybody, a user with an access token, or another service with a workload token. */
export type Auth = 'none' | 'user' | 'workload'

export interface ResponseSpec {
  description: string
  /** Schema of the JSON body; none for 204. */
  body?: z.ZodType
  /** Header names that this answer carries, with what they mean. */
  headers?: Record<string, string>
  example?: unknown
}

/** One row of a service's contract: types, validation, routing and OpenAPI all come from it. */
export interface Operation {
  method: Method
  /** OpenAPI template, e.g. `/orders/{id}`. */
  path: `/${string}`
  summary: string
  auth: Auth
  params?: z.ZodObject
  query?: z.ZodObject
  /** Whether it requires an `Idempotency-Key` header. */
  idempotencyKey?: true
  /** Not routed by the ingress, although it needs no token. */
  internal?: true
  /** Only HTTP has a use for it, such as a key set at a well-known path: gRPC does not serve it. */
  httpOnly?: true
  body?: z.ZodType
  bodyExample?: unknown
  /** A longer body is 413. @default 65536 (64 KiB) */
  maxBodyBytes?: number
  responses: Record<number, ResponseSpec>
  /**
   * Of the parts that a command of it carries, a whole number up to 32767. Raise it when what was written before must not be delivered any more: a
   * message of another version waits for pods that know it, and is parked when there are none.
   * @default 1
   */
  commandVersion?: number
  /** Problem codes beyond those that every operation can give, by status. */
  problems?: Record<number, readonly string[]>
}

export type Contract = Record<string, Operation>

/** Of Postgres' smallint. */
const MAX_VERSION = 32_767

/**
 * Keeps the literal types of a contract.
 * @throws Error naming every operation whose path and params differ, that has the method and path of another, or whose commandVersion is none
 */
export function defineContract<const C extends Contract>(contract: C): C {
  const problems: string[] = []
  const owners = new Map<string, string>()
  for (const [name, { method, path, params, commandVersion: version = 1 }] of Object.entries<Operation>(contract)) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter as string)
    const inParams = Object.keys(params?.shape ?? {})
    for (const parameter of inPath)
      if (!inParams.includes(parameter)) problems.push(`${name}: the path ${path} has {${parameter}}, params has ${inParams.join(', ') || 'nothing'}`)
    for (const parameter of inParams)
      if (!inPath.includes(parameter)) problems.push(`${name}: params has ${parameter}, the path ${path} has no {${parameter}}`)
    if (!Number.isInteger(version) || version < 1 || version > MAX_VERSION)
      problems.push(`${name}: commandVersion is ${version}, not a whole number from 1 to ${MAX_VERSION}`)
    // Two templates that differ in names alone match the same requests.
    const route = `${method} ${path.replace(/\{\w+\}/g, '{}')}`
    const owner = owners.get(route)
    if (owner) problems.push(`${name} and ${owner} both are ${method} ${path}`)
    owners.set(route, name)
  }
  if (problems.length > 0) throw new DefinitionError(`the contract cannot work: ${problems.join('; ')}`)
  return contract
}

type Out<T> = T extends z.ZodType ? z.output<T> : undefined
type In<T> = T extends z.ZodType ? z.input<T> : undefined

/** What a handler gets, validated. */
export interface Input<O extends Operation> {
  params: Out<O['params']>
  query: Out<O['query']>
  body: Out<O['body']>
  idempotencyKey: O['idempotencyKey'] extends true ? string : undefined
}

type Keys<O extends Operation, K extends 'params' | 'query' | 'body'> = { [P in K as O[P] extends z.ZodType ? P : never]: In<O[P]> }

/** What a caller sends. */
export type Outgoing<O extends Operation> = Keys<O, 'params' | 'query' | 'body'>

/** What a handler answers and a client receives: one member of the union for each declared response. */
export type Answer<O extends Operation> = {
  [S in keyof O['responses'] & number]: O['responses'][S] extends { body: z.ZodType }
    ? { status: S; body: z.input<O['responses'][S]['body']>; headers?: Record<string, string> }
    : { status: S; headers?: Record<string, string> }
}[keyof O['responses'] & number]

/** A problem that a callee answered, by its code. */
export interface ProblemAnswer {
  status: number
  problem: { code: string; detail: string; [member: string]: unknown }
}

/** What a call brings: a declared answer, or a 4xx problem. */
export type Received<O extends Operation> = Answer<O> | ProblemAnswer

/** A problem that the contract declares for an operation, one member of the union for each status. */
export type DeclaredProblem<O extends Operation> = O extends { problems: infer P }
  ? {
      [S in keyof P & number]: {
        status: S
        problem: { code: P[S] extends readonly (infer C)[] ? C : never; detail: string; [member: string]: unknown }
      }
    }[keyof P & number]
  : never

/** The object with unknown members refused, as every request body of ours wants it. */
export const strict = z.strictObject

const knownBounds = new WeakMap<z.ZodType, Bounds>()

/**
 * Parses one part of a request, its sizes first.
 * @throws Failure `invalid-request`, naming the first wrong fields as `part.path`
 */
export function parsePart<T extends z.ZodType>(part: string, schema: T, value: unknown): z.output<T> {
  let bounds = knownBounds.get(schema)
  if (!bounds) {
    bounds = boundsOf(schema)
    knownBounds.set(schema, bounds)
  }
  const outsized = bounds(part, value)
  if (outsized.length > 0) throw invalidRequest(outsized)
  const result = schema.safeParse(value, { reportInput: false })
  if (result.success) return result.data
  throw invalidRequest(fieldProblems(part, result.error.issues))
}

/** The first problems that a schema found in one part of a request, by field. */
export function fieldProblems(part: string, issues: readonly z.core.$ZodIssue[]): FieldProblem[] {
  return issues.slice(0, MAX_PROBLEMS).flatMap(issue => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(key => ({ field: [part, ...issue.path, key].join('.').slice(0, 200), message: 'is not a known field' }))
    }
    return [{ field: [part, ...issue.path].join('.').slice(0, 200), message: issue.message }]
  })
}

/** Whether any operation of a service satisfies the predicate. */
export const hasOperation = ({ contract }: { contract: Contract }, is: (operation: Operation) => unknown): boolean => Object.values(contract).some(is)

/** Whether repeating the operation has the effect of doing it once (RFC 9110 section 9.2.2). */
export const isIdempotent = (operation: Operation): boolean => operation.method !== 'POST' && operation.method !== 'PATCH'
