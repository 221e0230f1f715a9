import type { Model } from './model.ts'
import { enumValueName, jsonName, mapEntryName, valuesAsJson } from './names.ts'

/** Names that protobuf would refuse, one line each. */
export function clashesOf(model: Model): string[] {
  const { messages, enums, methods, service } = model
  const values = Object.entries(enums).flatMap(([name, own]) =>
    [enumValueName(name, 'unspecified'), ...Object.values(own)].map(value => ({ name: value, what: `a value of ${name}` })),
  )
  const inPackage = [
    { name: service, what: 'the service' },
    ...Object.keys(messages).map(name => ({ name, what: 'a message' })),
    ...Object.keys(enums).map(name => ({ name, what: 'an enum' })),
    // Values of an enum are names of what is around it.
    ...values,
  ]
  const names = [...inPackage, ...methods.map(({ name }) => ({ name, what: 'a method' }))]
  return [
    ...names.filter(({ name }) => !isName(name)).map(({ name, what }) => `'${name}' is no name in protobuf for ${what}`),
    ...twice(inPackage, ({ name }) => name).map(([a, b]) => `${a.name} is ${a.what} and ${b.what}: give one another title`),
    ...twice(methods, ({ name }) => name).map(([a, b]) => `${a.operation} and ${b.operation} both are the method ${a.name}`),
    ...Object.entries(enums).flatMap(([name, own]) =>
      twice(Object.entries({ ...own, '': enumValueName(name, 'unspecified') }), ([, value]) => valuesAsJson(name, value)).map(
        ([[a], [b]]) => `values '${a}' and '${b}' of ${name} are too much alike for protobuf`,
      ),
    ),
    ...Object.keys(messages).flatMap(name => clashesIn(model, name)),
  ]
}

function clashesIn({ messages, enums }: Model, name: string): string[] {
  const fields = messages[name]?.fields ?? []
  const entries = fields.filter(({ label }) => label === 'map').map(field => mapEntryName(field.name))
  return [
    ...fields.filter(field => !isName(field.name)).map(({ key }) => `'${key}' of ${name} gives no name in protobuf`),
    // Fields of one name are told of where they are made.
    ...twice(fields, field => jsonName(field.name))
      .filter(([a, b]) => a.name !== b.name)
      .map(([a, b]) => `${a.key} and ${b.key} of ${name} are one name in protobuf's JSON`),
    ...entries
      .filter(entry => messages[entry] || enums[entry])
      .map(entry => `${entry} is what protobuf calls a map of ${name}: give it another title`),
  ]
}

const isName = (name: string) => /^[A-Za-z]\w*$/.test(name)

function twice<T>(all: readonly T[], keyOf: (one: T) => string): [T, T][] {
  const first = new Map<string, T>()
  return all.flatMap((one): [T, T][] => {
    const key = keyOf(one)
    const other = first.get(key)
    if (other === undefined) first.set(key, one)
    return other === undefined ? [] : [[other, one]]
  })
}
