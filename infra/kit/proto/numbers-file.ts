import type { ProtoNumbers } from '@fairlead/chassis'

/** `gift-card` is `giftCardProto`. */
export const numbersName = (service: string): string => `${service.replace(/-+(.)/g, (_, letter: string) => letter.toUpperCase())}Proto`

/** Numbers as the module that a definition imports, laid out as Biome does at 150 characters a line. */
export const printNumbers = (service: string, numbers: ProtoNumbers): string => `import type { ProtoNumbers } from '@fairlead/chassis'

/** Written by npx fairlead proto: what a number was given to once keeps it. */
export const ${numbersName(service)} = ${print(numbers, '')} as const satisfies ProtoNumbers
`

const LINE = 150

function print(value: unknown, indent: string, before = 0): string {
  const deeper = `${indent}  `
  if (Array.isArray(value)) {
    const flat = `[${value.map(one => print(one, '')).join(', ')}]`
    if (indent.length + before + flat.length + 1 <= LINE) return flat
    return `[\n${value.map(one => `${deeper}${print(one, deeper)},\n`).join('')}${indent}]`
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    if (entries.length === 0) return '{}'
    return `{\n${entries.map(([key, one]) => `${deeper}${key}: ${print(one, deeper, key.length + 2)},\n`).join('')}${indent}}`
  }
  return typeof value === 'string' ? `'${value}'` : String(value)
}
