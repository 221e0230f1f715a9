import { type ServiceDefinition, type SystemDefinition, settingVariable } from '@fairlead/chassis'
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

/** What a setting is when nobody says anything: a text, or undefined when it has none or its schema makes one that no text says. */
export function defaultOf(schema: z.ZodType): string | number | boolean | undefined {
  const { data } = schema.safeParse(undefined)
  if (Array.isArray(data)) return data.join(',')
  return ['string', 'number', 'boolean'].includes(typeof data) ? (data as string) : undefined
}

/**
 * Every setting of a service with its value.
 * @throws Error naming the variable of one that has neither a value nor a default
 */
export function settingTexts(service: ServiceDefinition, given: Readonly<Record<string, string>> = {}): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const { setting, schema, variable } of variablesOf(service)) {
    const value = given[setting] ?? defaultOf(schema)
    if (value !== undefined) texts[setting] = String(value)
    else if (!schema.safeParse(undefined).success) throw new Error(`${variable} is missing: it takes ${schema.description ?? 'a value'}`)
  }
  return texts
}

/** The JSON schema of what a setting takes, as far as it can be said. */
export const settingSchema = (schema: z.ZodType): Record<string, unknown> => {
  const { type, minimum, maximum, minLength, maxLength, pattern, enum: oneOf } = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' })
  if (type !== 'integer' && type !== 'number' && type !== 'string') return { type: 'string' }
  const said = { type, minimum, maximum, minLength, maxLength, pattern, enum: oneOf }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
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
