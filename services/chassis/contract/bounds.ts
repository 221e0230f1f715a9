import { z } from 'zod'
import { type FieldProblem, MAX_PROBLEMS } from './failure.ts'

/**
 * UTF-16 units per character of `maxLength`: up to two for a character, and up to two characters that become one when they are composed
 * (NFC). The exact count is the schema's own, later.
 */
const UNITS_PER_CHARACTER = 4

interface JsonSchema {
  maxLength?: number
  maxItems?: number
  items?: JsonSchema
  properties?: Record<string, JsonSchema>
  additionalProperties?: boolean | JsonSchema
}

/** Finds what is too long or too many in a value. */
export type Bounds = (part: string, value: unknown) => FieldProblem[]

/**
 * The sizes that a schema allows: lengths of texts and lists, and names of members. They are looked at before anything else of the schema
 * runs, so that no pattern, normalization or list of complaints ever works on more than a valid value could hold.
 */
export function boundsOf(schema: z.ZodType): Bounds {
  const shape = z.toJSONSchema(schema, { io: 'input', reused: 'inline', unrepresentable: 'any' }) as JsonSchema
  return (part, value) => {
    const problems: FieldProblem[] = []
    look(shape, part, value, problems)
    return problems
  }
}

function look(shape: JsonSchema, field: string, value: unknown, problems: FieldProblem[]): void {
  if (problems.length >= MAX_PROBLEMS) return
  if (typeof value === 'string') {
    if (shape.maxLength !== undefined && value.length > shape.maxLength * UNITS_PER_CHARACTER)
      problems.push({ field, message: `is longer than ${shape.maxLength} characters` })
  } else if (Array.isArray(value)) {
    if (shape.maxItems !== undefined && value.length > shape.maxItems) problems.push({ field, message: `has more than ${shape.maxItems} elements` })
    else if (shape.items) for (const [i, element] of value.entries()) look(shape.items, `${field}.${i}`, element, problems)
  } else if (typeof value === 'object' && value !== null && shape.properties) lookAtMembers(shape, field, value, problems)
}

function lookAtMembers({ properties = {}, additionalProperties }: JsonSchema, field: string, value: object, problems: FieldProblem[]): void {
  const unknown: FieldProblem[] = []
  // JSON.parse gives plain objects, of which this needs no list of all names.
  for (const name in value) {
    if (Object.hasOwn(properties, name)) look(properties[name] as JsonSchema, `${field}.${name}`, (value as Record<string, unknown>)[name], problems)
    else if (additionalProperties === false) unknown.push({ field: `${field}.${name}`.slice(0, 200), message: 'is not a known field' })
    if (unknown.length >= MAX_PROBLEMS) break
  }
  // A few are named by the schema, together with what else is wrong.
  if (unknown.length >= MAX_PROBLEMS) problems.push(...unknown.slice(0, MAX_PROBLEMS - problems.length))
}
