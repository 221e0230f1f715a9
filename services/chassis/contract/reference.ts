import { z } from 'zod'

// Registered, so that two copies of this package know each other's references.
const SOURCE = Symbol.for('fairlead.source')

export type FreshKind = 'id' | 'email' | 'password' | 'text'

/** Where a value comes from that is known only when a journey runs. */
export type Source =
  /** The member at `path` of a step's answer; `isText` when its schema says that it is a string. */
  | { from: 'answer'; step: number; path: readonly string[]; isText: boolean }
  /** Made for each run. `number` tells two of a kind apart. */
  | { from: 'fresh'; kind: FreshKind; number: number }
  /** The access token of a user that whoever runs the journey gives it. */
  | { from: 'user'; name: string }

declare const type: unique symbol

// Not any number: what a compiler with noUncheckedIndexedAccess takes for perhaps missing could not be given to a call.
type Index = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9

/** Stands for a value of a journey that is known only when it runs: a member of an answer, say. */
export type Ref<T> = { readonly [type]: T } & (T extends readonly (infer E)[]
  ? { readonly [I in Index]: Ref<E> }
  : T extends object
    ? { readonly [K in keyof T]-?: Ref<NonNullable<T[K]>> }
    : unknown)

/** A value that may be, or hold, references. */
export type Given<T> = Ref<T> | (T extends object ? { [K in keyof T]: Given<T[K]> } : T)

interface Shape {
  type?: string
  properties?: Record<string, Shape>
  additionalProperties?: boolean | Shape
  items?: boolean | Shape
  prefixItems?: Shape[]
  anyOf?: Shape[]
  oneOf?: Shape[]
  allOf?: Shape[]
}

const shapeOf = (schema: z.ZodType) => z.toJSONSchema(schema, { io: 'input', reused: 'inline', unrepresentable: 'any' }) as Shape

const membersOf = (shape: Shape): Shape[] => [shape, ...[shape.anyOf, shape.oneOf, shape.allOf].flatMap(list => (list ?? []).flatMap(membersOf))]

const isShape = (value: unknown): value is Shape => typeof value === 'object'

/** What a member may be, of a value that is any of some shapes; nothing where none of them has it. */
function memberOf(shapes: readonly Shape[], key: string): Shape[] {
  return shapes.flatMap(membersOf).flatMap(({ type, properties, additionalProperties, items, prefixItems, anyOf, oneOf, allOf }) => {
    if (type === 'array') return /^\d+$/.test(key) ? [prefixItems?.[Number(key)] ?? items].filter(isShape) : []
    if (properties && Object.hasOwn(properties, key)) return [properties[key] as Shape]
    if (isShape(additionalProperties)) return [additionalProperties]
    return type === undefined && !anyOf && !oneOf && !allOf ? [{}] : []
  })
}

const isText = (shapes: readonly Shape[]) => shapes.flatMap(membersOf).some(({ type }) => type === 'string')

const namesOf = (shapes: readonly Shape[]) => [...new Set(shapes.flatMap(membersOf).flatMap(({ properties = {} }) => Object.keys(properties)))]

/** A reference to a whole answer, whose members are references as well. @param name what it is called in errors */
export const answerReference = (name: string, step: number, schemas: readonly z.ZodType[]): unknown =>
  within(name, { from: 'answer', step, path: [], isText: false }, schemas.map(shapeOf))

function within(name: string, source: Extract<Source, { from: 'answer' }>, shapes: readonly Shape[]): unknown {
  return reference(name, source, key => {
    const member = memberOf(shapes, key)
    if (member.length === 0) throw new Error(`${name} has no ${key}; it has ${namesOf(shapes).join(', ') || 'no members'}`)
    return within(`${name}.${key}`, { ...source, path: [...source.path, key], isText: isText(member) }, member)
  })
}

/** A reference to a value without members. */
export const plainReference = (name: string, source: Source): unknown =>
  reference(name, source, key => {
    throw new Error(`${name} has no ${key}: it is a text`)
  })

function reference(name: string, source: Source, member: (key: string) => unknown): unknown {
  return new Proxy(
    { [SOURCE]: source },
    {
      get: (_, key) => {
        if (key === SOURCE) return source
        if (typeof key === 'string') return member(key)
        throw new Error(`${name} is known only when the journey runs: give it as a whole value, it cannot be part of a text or be iterated`)
      },
      ownKeys: () => {
        throw new Error(`${name} is known only when the journey runs: it cannot be spread; name its members one by one`)
      },
    },
  )
}

/** Where a value comes from, if it is a reference. */
export const sourceOf = (value: unknown): Source | undefined =>
  typeof value === 'object' && value !== null ? (value as { [SOURCE]?: Source })[SOURCE] : undefined

/** A copy of a value with something in the place of each reference. */
export function fill(value: unknown, valueFrom: (source: Source, path: string[]) => unknown, path: string[] = []): unknown {
  const source = sourceOf(value)
  if (source) return valueFrom(source, path)
  if (Array.isArray(value)) return value.map((element, index) => fill(element, valueFrom, [...path, String(index)]))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fill(member, valueFrom, [...path, key])]))
}

/** The same value with its references as plain data. */
export const recorded = (value: unknown): unknown => fill(value, source => ({ [SOURCE]: source }))
