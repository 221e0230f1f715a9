import { z } from 'zod'

/** All problems of a configuration at once, one line each. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`the environment has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${problems.map(p => `  ${p}`).join('\n')}`)
    this.problems = problems
  }
}

/**
 * Reads settings from an environment. Pure: only `main.ts` passes `process.env`.
 * @param fields one zod schema a variable; its description says what the variable takes
 * @throws ConfigError naming every missing or wrong variable
 */
export function loadConfig<F extends Record<string, z.ZodType>>(
  fields: F,
  env: Record<string, string | undefined>,
): { [K in keyof F]: z.output<F[K]> } {
  const problems: string[] = []
  const config: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(fields)) {
    const text = env[name]
    const result = schema.safeParse(text === '' ? undefined : text)
    if (result.success) config[name] = result.data
    else
      problems.push(`${name} ${text ? `is wrong (${result.error.issues[0]?.message})` : 'is missing'}: it takes ${schema.description ?? 'a value'}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return config as never
}

export const port = (fallback: number) => z.coerce.number().int().min(0).max(65_535).default(fallback).describe('a port number; 0 picks a free one')

export const milliseconds = (fallback: number) => z.coerce.number().int().min(0).max(3_600_000).default(fallback).describe('whole milliseconds')

export const count = (fallback: number) => z.coerce.number().int().min(0).default(fallback).describe('a whole number')

export const seconds = (fallback: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(fallback).describe(`whole seconds, ${min} to ${max}`)

export const text = (what: string) => z.string().min(1).describe(what)

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
