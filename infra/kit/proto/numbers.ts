import type { ProtoNumbers } from '@fairlead/chassis'
import { type Message, type Model, typeText } from '@fairlead/chassis/grpc'

type Fields = Record<string, readonly [number: number, type: string]>
type Reserved = Record<string, { numbers: readonly number[]; names: readonly string[] }>

export interface Assigned {
  numbers: ProtoNumbers
  /** What whoever has the messages of before can no longer do, one line each, naming the field. */
  breaking: string[]
}

const NONE: ProtoNumbers = { methods: [], messages: {}, enums: {} }

/**
 * Numbers for everything that a model names: those that were given before stay, new ones come after all that ever were, and those of what is gone are
 * reserved (https://protobuf.dev/best-practices/dos-donts/), also for a message or an enum of that name that comes later.
 */
export function assignNumbers(model: Model, before: ProtoNumbers = NONE): Assigned {
  const breaking: string[] = []
  const reserved: Reserved = { ...before.reserved }
  const messages: Record<string, Fields> = {}
  for (const [name, message] of Object.entries(model.messages)) messages[name] = numberFields(name, message, before, reserved, breaking)
  const enums: Record<string, Record<string, number>> = {}
  for (const [name, values] of Object.entries(model.enums)) enums[name] = numberValues(name, Object.values(values), before, reserved, breaking)
  const methods = model.methods.map(({ name }) => name)
  for (const name of before.methods) if (!methods.includes(name)) breaking.push(`the method ${name} is gone`)
  for (const [name, fields] of Object.entries(before.messages)) {
    if (messages[name]) continue
    breaking.push(`the message ${name} is gone`)
    for (const [field, [number]] of Object.entries(fields)) reserve(reserved, name, number, field)
  }
  for (const [name, values] of Object.entries(before.enums)) {
    if (enums[name]) continue
    breaking.push(`the enum ${name} is gone`)
    for (const [value, number] of Object.entries(values)) reserve(reserved, name, number, value)
  }
  return { numbers: { methods, messages, enums, ...(Object.keys(reserved).length > 0 && { reserved }) }, breaking }
}

function numberFields(name: string, { fields }: Message, { messages }: ProtoNumbers, reserved: Reserved, breaking: string[]): Fields {
  const before = new Map(Object.entries(messages[name] ?? {}))
  const next = nextNumber([...[...before.values()].map(([number]) => number), ...(reserved[name]?.numbers ?? [])])
  const kept = fields.map((field): [string, readonly [number, string]] => {
    const type = typeText(field)
    const [number, was] = before.get(field.name) ?? []
    before.delete(field.name)
    if (number === undefined || was === undefined) {
      free(reserved, name, field.name)
      return [field.name, [next(), type]]
    }
    if (was !== type) breaking.push(`${name}.${field.name} was ${was} and is ${type}`)
    if (onWire(was) === onWire(type)) return [field.name, [number, type]]
    reserve(reserved, name, number)
    return [field.name, [next(), type]]
  })
  for (const [field, [number]] of before) {
    breaking.push(`${name}.${field} is gone`)
    reserve(reserved, name, number, field)
  }
  return Object.fromEntries(kept)
}

/** Whether an absent value is told from the default one is not to be seen on the wire. */
const onWire = (type: string) => type.replace(/^optional /, '')

function numberValues(name: string, values: readonly string[], { enums }: ProtoNumbers, reserved: Reserved, breaking: string[]) {
  const before = enums[name] ?? {}
  const next = nextNumber([...Object.values(before), ...(reserved[name]?.numbers ?? [])])
  const kept = Object.fromEntries(values.map(value => [value, before[value] ?? next()]))
  for (const value of values) if (before[value] === undefined) free(reserved, name, value)
  for (const [value, number] of Object.entries(before)) {
    if (kept[value] !== undefined) continue
    breaking.push(`${name}.${value} is gone`)
    reserve(reserved, name, number, value)
  }
  return kept
}

/** Marks a number, and the name that had it, as one that nothing may have again. */
export function reserve(reserved: Reserved, message: string, number: number, name?: string): void {
  const { numbers, names } = reserved[message] ?? { numbers: [], names: [] }
  reserved[message] = {
    numbers: [...new Set([...numbers, number])].sort((a, b) => a - b),
    names: name === undefined ? names : [...new Set([...names, name])].sort(),
  }
}

/** A name that is back has a number of its own, and is no longer reserved. */
function free(reserved: Reserved, message: string, name: string): void {
  const { numbers, names } = reserved[message] ?? { numbers: [], names: [] }
  if (names.includes(name)) reserved[message] = { numbers, names: names.filter(one => one !== name) }
}

const LARGEST = 536_870_911
const OWN = { first: 19_000, last: 19_999 }

/** After all that ever were, around those that protobuf keeps for itself. */
function nextNumber(taken: readonly number[]): () => number {
  let last = Math.max(0, ...taken)
  return () => {
    last = last === OWN.first - 1 ? OWN.last + 1 : last + 1
    return last
  }
}

/** What no number can be, or what two have: a merge took both sides, or somebody wrote by hand. One line each. */
export function wrongNumbers({ messages, enums, reserved = {} }: ProtoNumbers): string[] {
  const problems: string[] = []
  const look = (name: string, entries: [string, number][]) => {
    const owners = new Map<number, string>(reserved[name]?.numbers.map(number => [number, 'what is gone']))
    for (const [field, number] of entries) {
      const owner = owners.get(number)
      if (owner !== undefined) problems.push(`${name}.${field} has number ${number}, which is that of ${owner}`)
      if (!Number.isInteger(number) || number < 1 || number > LARGEST || (number >= OWN.first && number <= OWN.last))
        problems.push(`${name}.${field} has number ${number}, which no field can have`)
      owners.set(number, field)
    }
  }
  for (const [name, fields] of Object.entries(messages))
    look(
      name,
      Object.entries(fields).map(([field, [number]]) => [field, number]),
    )
  for (const [name, values] of Object.entries(enums)) look(name, Object.entries(values))
  return problems
}
