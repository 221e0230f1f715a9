import type { ProtoNumbers } from '@fairlead/chassis'
import { enumValueName, importsOf, type Message, type Model, typeText } from '@fairlead/chassis/grpc'

/** A model with its numbers in protobuf's language, laid out as `buf format` does. */
export function printProto(service: { name: string }, model: Model, numbers: ProtoNumbers): string {
  const blocks = [
    [`// Written by npx fairlead proto from the contract of ${service.name}.`, '', 'syntax = "proto3";'],
    [`package ${model.package};`],
    importsOf(model).map(path => `import "${path}";`),
    [`service ${model.service} {`, ...model.methods.flatMap(printMethod), '}'],
    ...Object.entries(model.messages).map(([name, message]) => printMessage(name, message, numbers)),
    ...Object.entries(model.enums).map(([name, values]) => printEnum(name, Object.values(values), numbers)),
  ]
  return `${blocks
    .filter(lines => lines.length > 0)
    .map(lines => lines.join('\n'))
    .join('\n\n')}\n`
}

const comment = (text: string | undefined, indent: string): string[] =>
  text ? text.split(/\r?\n|\r/).map(line => `${indent}// ${line}`.trimEnd()) : []

const printMethod = ({ name, summary, request, response }: Model['methods'][number]) => [
  ...comment(summary, '  '),
  `  rpc ${name}(${request}) returns (${response});`,
]

function printMessage(name: string, { fields, oneof, description }: Message, numbers: ProtoNumbers): string[] {
  const indent = oneof ? '    ' : '  '
  const lines = fields.flatMap(field => [
    ...comment(field.description, indent),
    `${indent}${typeText(field)} ${field.name} = ${new Map(Object.entries(numbers.messages[name] ?? {})).get(field.name)?.[0]};`,
  ])
  const body = [...printReserved(name, numbers), ...(oneof ? [`  oneof ${oneof} {`, ...lines, '  }'] : lines)]
  return [...comment(description, ''), ...(body.length > 0 ? [`message ${name} {`, ...body, '}'] : [`message ${name} {}`])]
}

function printEnum(name: string, values: string[], numbers: ProtoNumbers): string[] {
  const numbered = values.map(value => `  ${value} = ${numbers.enums[name]?.[value]};`)
  return [`enum ${name} {`, ...printReserved(name, numbers), `  ${enumValueName(name, 'unspecified')} = 0;`, ...numbered, '}']
}

function printReserved(name: string, { reserved }: ProtoNumbers): string[] {
  const { numbers, names } = reserved?.[name] ?? { numbers: [], names: [] }
  return [
    ...(numbers.length > 0 ? [`  reserved ${ranges(numbers).join(', ')};`] : []),
    ...(names.length > 0 ? [`  reserved ${names.map(one => `"${one}"`).join(', ')};`] : []),
  ]
}

/** 2, 3, 4 and 7 are `2 to 4` and `7`. */
function ranges(numbers: readonly number[]): string[] {
  const found: { first: number; last: number }[] = []
  for (const number of numbers) {
    const open = found.at(-1)
    if (open && open.last + 1 === number) open.last = number
    else found.push({ first: number, last: number })
  }
  return found.map(({ first, last }) => (first === last ? `${first}` : `${first} to ${last}`))
}
