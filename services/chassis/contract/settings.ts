import { z } from 'zod'

/** All problems of a configuration at once, one line each. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  readonly problems: readonly string[]
  /** Names of required variables that are missing. */
  readonly missing: readonly string[]
  constructor(problems: readonly string[], missing: readonly string[] = []) {
    super(`the environment has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${problems.map(p => `  ${p}`).join('\n')}`)
    this.problems = problems
    this.missing = missing
  }
}

/**
 * Reads settings from an environment. Pure: only `main.ts` passes `process.env`.
 * @param fields one zod schema per variable; its description says what the variable takes
 * @throws ConfigError naming every missing or wrong variable
 */
export function loadConfig<F extends Record<string, z.ZodType>>(
  fields: F,
  env: Record<string, string | undefined>,
): { [K in keyof F]: z.output<F[K]> } {
  const problems: string[] = []
  const missing: string[] = []
  const config: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(fields)) {
    const text = env[name]?.trim() === '' ? undefined : env[name]
    const result = schema.safeParse(text)
    if (result.success) {
      config[name] = result.data
      continue
    }
    if (!text) missing.push(name)
    const takes = takesOf(schema)
    // A text was given: that it takes one adds nothing to what is wrong with it.
    const hint = text && takes === TYPES.string ? '' : `: it takes ${takes}`
    problems.push(`${name} ${text ? `is wrong (${result.error.issues[0]?.message})` : 'is missing'}${hint}`)
  }
  if (problems.length > 0) throw new ConfigError(problems, missing)
  return config as never
}

/** What a setting takes: its description, wherever in the schema that is, else what its type implies. */
export function takesOf(schema: z.ZodType): string {
  const { description, type, enum: oneOf } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  if (schema.description || description) return (schema.description ?? description) as string
  if (oneOf) return oneOf.join(' or ')
  if (isFlag(schema)) return TYPES.boolean
  return TYPES[type as keyof typeof TYPES] ?? 'a value'
}

const TYPES = { integer: 'a whole number', number: 'a number', boolean: 'true or false', string: 'a text' }

/** Whether it decodes these texts, as flag() and z.stringbool() do. */
export const isFlag = (schema: z.ZodType): boolean => schema.safeParse('true').data === true && schema.safeParse('false').data === false

export const port = (fallback: number) => z.coerce.number().int().min(0).max(65_535).default(fallback).describe('a port number; 0 picks a free one')

const whole = (takes: string, max: number, first: number | string, what?: string) => {
  const schema = z.coerce.number().int().min(0).max(max)
  if (typeof first === 'string') return schema.describe(`${first}, ${takes}`)
  return schema.default(first).describe(what === undefined ? takes : `${what}, ${takes}`)
}

/** A whole number. One without a default is required. */
export function count(fallback: number, what?: string): z.ZodDefault<z.ZodCoercedNumber>
export function count(what: string): z.ZodCoercedNumber
export function count(first: number | string, what?: string) {
  return whole('a whole number', Number.MAX_SAFE_INTEGER, first, what)
}

/** A time of at most an hour. */
export function milliseconds(fallback: number, what?: string): z.ZodDefault<z.ZodCoercedNumber>
export function milliseconds(what: string): z.ZodCoercedNumber
export function milliseconds(first: number | string, what?: string) {
  return whole('whole milliseconds', 3_600_000, first, what)
}

export const seconds = (fallback: number, min: number, max: number, what?: string) =>
  z.coerce
    .number()
    .int()
    .min(min)
    .max(max)
    .default(fallback)
    .describe(`${what === undefined ? '' : `${what}, `}whole seconds, ${min} to ${max}`)

/** A non-empty text, described by the last argument. One without a default is required. */
export function text(what: string): z.ZodString
export function text(fallback: string, what: string): z.ZodDefault<z.ZodString>
export function text(first: string, what?: string) {
  const schema = z.string().min(1)
  return what === undefined ? schema.describe(first) : schema.default(first).describe(what)
}

const FLAG = z.enum(['true', 'false']).transform(value => value === 'true')

/** `true` or `false`. One without a default is required. */
export function flag(fallback: boolean, what: string): z.ZodDefault<typeof FLAG>
export function flag(what: string): typeof FLAG
export function flag(first: boolean | string, what?: string) {
  if (typeof first === 'string') return FLAG.describe(`${TYPES.boolean}: ${first}`)
  return FLAG.default(first).describe(`${TYPES.boolean}: ${what}`)
}

export const list = (what: string) =>
  z
    .string()
    .transform(value =>
      value
        .split(',')
        .map(item => item.trim())
        .filter(Boolean),
    )
    .describe(`${what}, separated by commas`)
