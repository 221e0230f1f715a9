import { glob, readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import type { Contract, Operation } from '@fairlead/chassis'
import { type Token, tokenizer, tokTypes } from 'acorn'
import { checkSync } from 'recheck'
import { z } from 'zod'

/** A pattern that runs on a caller's text, and where it stands. */
export interface Place {
  where: string
  pattern: RegExp
}

/** What a schema of a contract leaves open. */
export interface Unbounded {
  where: string
  what: 'text' | 'list'
}

// biome-ignore lint/suspicious/noExplicitAny: zod tells what a schema consists of by fields of each kind
type Definition = any

const definitionOf = (schema: z.ZodType): Definition => schema._zod.def

/** The schemas inside a schema, each with the name of its place. */
function inner(schema: z.ZodType): [name: string, schema: z.ZodType][] {
  const definition = definitionOf(schema)
  const named: [string, z.ZodType | undefined][] = [
    ...Object.entries<z.ZodType>(definition.shape ?? {}),
    ['*', definition.element],
    ['*', definition.catchall],
    ['key', definition.keyType],
    ['*', definition.valueType],
    ['', definition.innerType],
    ['', definition.in],
    ['', definition.out],
    ['', definition.left],
    ['', definition.right],
    ...(definition.options ?? []).map((option: z.ZodType) => ['', option]),
    ...(definition.items ?? []).map((item: z.ZodType, n: number) => [String(n), item]),
  ]
  return named.filter((entry): entry is [string, z.ZodType] => entry[1] !== undefined)
}

/** Every schema of a request, with its place. */
function* schemasIn(schema: z.ZodType, where: string): Generator<[where: string, schema: z.ZodType]> {
  yield [where, schema]
  for (const [name, part] of inner(schema)) yield* schemasIn(part, name === '' ? where : `${where}.${name}`)
}

const requestParts = (service: string, contract: Contract): [string, z.ZodType][] =>
  Object.entries<Operation>(contract).flatMap(([id, operation]) =>
    (['params', 'query', 'body'] as const).flatMap((part): [string, z.ZodType][] => {
      const schema = operation[part]
      return schema ? [[`${service}.${id} ${part}`, schema]] : []
    }),
  )

const checksOf = (schema: z.ZodType): Definition[] => [
  definitionOf(schema),
  ...(definitionOf(schema).checks ?? []).map((check: Definition) => check._zod.def),
]

/** Every pattern that a contract tries on what callers send. */
export function patternsOf(service: string, contract: Contract): Place[] {
  return requestParts(service, contract).flatMap(([place, schema]) =>
    [...schemasIn(schema, place)].flatMap(([where, part]) =>
      checksOf(part).flatMap(({ pattern }) => (pattern instanceof RegExp ? [{ where, pattern }] : [])),
    ),
  )
}

interface JsonSchema {
  type?: string
  maxLength?: number
  maxItems?: number
  pattern?: string
  enum?: unknown[]
  const?: unknown
  [keyword: string]: unknown
}

const SUBSCHEMAS = ['items', 'additionalProperties', 'propertyNames', 'not'] as const

function* subschemas(schema: JsonSchema): Generator<[name: string, schema: JsonSchema]> {
  for (const [name, part] of Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>)) yield [`.${name}`, part]
  for (const keyword of SUBSCHEMAS) if (typeof schema[keyword] === 'object') yield ['.*', schema[keyword] as JsonSchema]
  for (const keyword of ['anyOf', 'allOf', 'oneOf', 'prefixItems']) for (const part of (schema[keyword] ?? []) as JsonSchema[]) yield ['', part]
}

/** Without sets of characters and what is escaped: does it go on for ever? */
const hasEnd = (pattern: string) => !/[*+]|\{\d+,\}/.test(pattern.replace(/\\./g, '').replace(/\[[^\]]*\]/g, '')) && /^\^.*\$$/s.test(pattern)

function* openIn(schema: JsonSchema, where: string): Generator<Unbounded> {
  const isText = schema.type === 'string' && schema.maxLength === undefined && schema.enum === undefined && schema.const === undefined
  if (isText && !(schema.pattern !== undefined && hasEnd(schema.pattern))) yield { where, what: 'text' }
  if (schema.type === 'array' && schema.maxItems === undefined) yield { where, what: 'list' }
  for (const [name, part] of subschemas(schema)) yield* openIn(part, where + name)
}

/** Texts and lists of a contract's requests that have no longest length, by which its sizes are judged first. */
export const unboundedOf = (service: string, contract: Contract): Unbounded[] =>
  requestParts(service, contract).flatMap(([where, schema]) => [
    ...openIn(z.toJSONSchema(schema, { io: 'input', reused: 'inline', unrepresentable: 'any' }) as JsonSchema, where),
  ])

/** Every pattern that the source files below a folder write out. */
export async function patternsInSources(folder: string): Promise<Place[]> {
  const places: Place[] = []
  for await (const file of glob(`${folder}/**/*.ts`)) {
    // Types become white space, so that lines stay.
    const source = stripTypeScriptTypes(await readFile(file, 'utf8'))
    for (const { pattern, line } of literalsIn(source)) places.push({ where: `${file}:${line}`, pattern })
  }
  return places
}

function* literalsIn(source: string): Generator<{ pattern: RegExp; line: number }> {
  const tokens: Iterable<Token> = tokenizer(source, { ecmaVersion: 'latest', sourceType: 'module', locations: true })
  for (const token of tokens) {
    const { type, loc } = token
    if (type !== tokTypes.regexp) continue
    // Acorn has no type for the value of a token.
    const { pattern, flags } = (token as unknown as { value: { pattern: string; flags: string } }).value
    yield { pattern: new RegExp(pattern, flags), line: loc?.start.line ?? 0 }
  }
}

const TIMEOUT_MS = 60_000
/**
 * The search for texts that take long ends by its limit of steps. By default the clock ends it after a second, and the checker takes for slow what a
 * busy machine has not finished.
 */
const BY_STEPS = { timeout: TIMEOUT_MS, incubationTimeout: TIMEOUT_MS }

/**
 * What a checker of regular expressions says against a pattern: that some text makes it try more often than in proportion to the text's length,
 * or that it cannot tell. @returns undefined when the pattern is linear
 */
export function objectionTo({ source, flags }: RegExp): string | undefined {
  const found = checkSync(source, flags.replace(/[gdy]/g, ''), BY_STEPS)
  if (found.status === 'safe') return undefined
  if (found.status === 'unknown') return `nobody can tell how long it takes (${found.error?.kind ?? 'unknown'})`
  const { complexity, attack } = found
  return `takes ${complexity.type === 'polynomial' ? `time with the power ${complexity.degree}` : 'exponential time'} of a text such as ${attack.pattern.slice(0, 120)}`
}
