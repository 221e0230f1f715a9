import { isDeepStrictEqual } from 'node:util'
import { ConfigError, isFlag, type ServiceDefinition, type SystemDefinition, settingVariable, takesOf } from '@fairlead/chassis'
import { z } from 'zod'

type Env = Record<string, string | undefined>

/** Texts of the services' own settings, by service and name. */
export type ServiceSettings = Readonly<Record<string, Readonly<Record<string, string>>>>

const variablesOf = ({ name, settings = {} }: ServiceDefinition) =>
  Object.entries(settings).map(([setting, schema]) => ({ setting, schema, variable: settingVariable(name, setting) }))

/** A schema for each variable by which the settings of a system's services are set, e.g. BOOKING_MAX_OPEN. */
export const serviceFields = ({ services }: Pick<SystemDefinition, 'services'>): Record<string, z.ZodType> =>
  Object.fromEntries(services.flatMap(variablesOf).map(({ variable, schema }) => [variable, schema]))

/** What an environment says of them; the others have their defaults. */
export const serviceSettingsIn = (env: Env, { services }: Pick<SystemDefinition, 'services'>): ServiceSettings =>
  Object.fromEntries(
    services.map(service => [
      service.name,
      Object.fromEntries(variablesOf(service).flatMap(({ setting, variable }) => (env[variable] ? [[setting, env[variable]]] : []))),
    ]),
  )

/** Whether a setting has to be given. */
export const isRequired = (schema: z.ZodType): boolean => !schema.safeParse(undefined).success

/** The text of a setting's default; undefined when it has none, or one that no text decodes to. */
export function defaultOf(schema: z.ZodType): string | undefined {
  const { data } = schema.safeParse(undefined)
  if (data === undefined) return undefined
  const saysIt = (text: string) => text.trim() !== '' && isDeepStrictEqual(schema.safeParse(text).data, data)
  return [...defaultTexts(schema), Array.isArray(data) ? data.join(',') : String(data)].find(saysIt)
}

/** Whether a setting may have no text at all. */
export const mayBeEmpty = (schema: z.ZodType): boolean => !isRequired(schema) && defaultOf(schema) === undefined

/** The defaults that a schema has as texts, before it decodes them. */
function defaultTexts(schema: z.ZodType): string[] {
  const { defaultValue, innerType, in: first } = schema.def as { defaultValue?: unknown; innerType?: z.ZodType; in?: z.ZodType }
  const next = innerType ?? first
  return [...(typeof defaultValue === 'string' ? [defaultValue] : []), ...(next ? defaultTexts(next) : [])]
}

/**
 * Every setting of a service with its text. A setting without one is left out, and the process takes its own default.
 * @throws ConfigError naming the variable of each that has neither a value nor a default
 */
export function settingTexts(service: ServiceDefinition, given: Readonly<Record<string, string>> = {}): Record<string, string> {
  const own = variablesOf(service).map(({ setting, ...rest }) => ({ ...rest, setting, text: given[setting] ?? defaultOf(rest.schema) }))
  const missing = own.filter(({ text, schema }) => text === undefined && isRequired(schema))
  if (missing.length > 0) throw new ConfigError(missing.map(({ variable, schema }) => `${variable} is missing: it takes ${takesOf(schema)}`))
  return Object.fromEntries(own.flatMap(({ setting, text }) => (text === undefined ? [] : [[setting, text]])))
}

const TEXTS: Record<string, string> = { integer: '^-?[0-9]+$', number: '^-?[0-9.]+(e[-+]?[0-9]+)?$' }
/** What the regular expressions of Go lack or write in another way; Helm checks with them. */
const NOT_IN_GO = /\\(?![dDwWsSbB]|[^a-zA-Z0-9])|\(\?(?![ims]*:)/

/** What a setting takes before it is decoded. JSON Schema has no flags of patterns: they go inside, where Go and ECMAScript read them. */
const inputOf = (schema: z.ZodType) =>
  z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const checks = zodSchema._zod.def.checks ?? []
      const patterns = checks.map(({ _zod: { def } }) => (def as { pattern?: RegExp }).pattern)
      const flags = patterns.find(pattern => pattern?.source === jsonSchema.pattern)?.flags.replace(/[^ims]/g, '')
      if (flags) jsonSchema.pattern = `(?${flags}:${jsonSchema.pattern})`
    },
  })

/** What it may be beside a text that says the same. */
const bareType = (schema: z.ZodType): string | undefined => {
  const type = inputOf(schema).type as string
  if (isFlag(schema)) return 'boolean'
  return type in TEXTS ? type : undefined
}

/** Whether it may be given as a number or boolean, too. */
export const mayBeBare = (schema: z.ZodType): boolean => bareType(schema) !== undefined

/** The JSON schema of a setting's value, as far as there is one: keywords hold for the type that they are of. An empty text counts as none. */
export function settingSchema(schema: z.ZodType): Record<string, unknown> {
  const { type, minLength, maxLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, pattern, enum: words } = inputOf(schema)
  const bare = bareType(schema)
  const rules = words?.every(word => typeof word === 'string')
    ? { enum: bare ? [...words, true, false] : words }
    : { minLength, maxLength, pattern: pattern ?? TEXTS[type as string], minimum, maximum, exclusiveMinimum, exclusiveMaximum }
  if (rules.pattern && NOT_IN_GO.test(rules.pattern)) delete rules.pattern
  const said = { type: bare ? ['string', bare] : 'string', ...Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined)) }
  if (isRequired(schema)) return { minLength: 1, ...said }
  return mayBeEmpty(schema) ? { anyOf: [{ const: '' }, said] } : said
}

/**
 * Variables that look like a setting of a service and are none, e.g. BOOKING_MAX_OPN.
 * @param known what else has a meaning
 */
export function misspeltSettings(env: Env, { services }: Pick<SystemDefinition, 'services'>, known: readonly string[] = []): string[] {
  return services.flatMap(service => {
    const variables = variablesOf(service).map(({ variable }) => variable)
    return Object.keys(env).flatMap(name => {
      if (!env[name] || !name.startsWith(settingVariable(service.name, '')) || known.includes(name) || variables.includes(name)) return []
      const [close] = variables.filter(variable => distance(name, variable) <= 2)
      return close ? [`${name} is no setting of ${service.name}; did you mean ${close}?`] : []
    })
  })
}

/** Letters to add, take away or replace until one text is the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length] as number
}
