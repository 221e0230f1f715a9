import type { ProtoNumbers } from '@fairlead/chassis'

/** What a file that `printProto` wrote says, however somebody edited it since. */
export interface ReadProto {
  methods: Set<string>
  /** By `Message.field`, and by `Enum.VALUE`. */
  numbers: Map<string, { number: number; type?: string }>
  /** By message or enum. */
  reserved: Map<string, number[]>
}

/** Reads it by lines, as it was written; what is laid out otherwise is not seen. */
export function readProto(text: string): ReadProto {
  const read: ReadProto = { methods: new Set(), numbers: new Map(), reserved: new Map() }
  let within = ''
  for (const line of text.split('\n').map(one => one.trim())) {
    const [, opened] = /^(?:message|enum) (\w+) \{/.exec(line) ?? []
    if (opened) within = opened
    const [, method] = /^rpc (\w+)\(/.exec(line) ?? []
    if (method) read.methods.add(method)
    const [, ranges] = /^reserved (\d[^;"]*);/.exec(line) ?? []
    if (ranges) read.reserved.set(within, [...(read.reserved.get(within) ?? []), ...numbersOf(ranges)])
    const [, type, name, number] = /^(?:(\S.*) )?(\w+) = (\d{1,9});/.exec(line) ?? []
    if (name && number && number !== '0') read.numbers.set(`${within}.${name}`, { number: Number(number), ...(type && { type }) })
  }
  return read
}

/** Ranges are as long as what was given and removed; one that somebody wrote by hand is not followed into the millions. */
const LONGEST = 10_000

const numbersOf = (ranges: string): number[] =>
  ranges.split(',').flatMap(range => {
    const [, first, last = first] = /^\s*(\d{1,9})(?: to (\d{1,9}))?\s*$/.exec(range) ?? []
    if (first === undefined) return []
    const length = Math.min(Number(last) - Number(first) + 1, LONGEST)
    return Array.from({ length: Math.max(0, length) }, (_, i) => Number(first) + i)
  })

export interface Disagreement {
  /** `Message.field` or `Message`. */
  where: string
  text: string
  /** What the .proto gave, which nothing else may have. */
  number?: number
}

/** Where the two files of a service say different things: somebody edited one of them. */
export function disagreements({ methods, messages, enums, reserved = {} }: ProtoNumbers, read: ReadProto): Disagreement[] {
  const kept = new Map<string, { number: number; type?: string }>()
  for (const [name, fields] of Object.entries(messages))
    for (const [field, [number, type]] of Object.entries(fields)) kept.set(`${name}.${field}`, { number, type })
  for (const [name, values] of Object.entries(enums)) for (const [value, number] of Object.entries(values)) kept.set(`${name}.${value}`, { number })
  const found: Disagreement[] = []
  for (const [where, { number, type }] of read.numbers) {
    const own = kept.get(where)
    if (!own) found.push({ where, number, text: `${where} = ${number} is in the .proto alone` })
    else if (own.number !== number) found.push({ where, number, text: `${where} is ${own.number} in proto.ts and ${number} in the .proto` })
    else if (own.type !== type) found.push({ where, text: `${where} is ${own.type} in proto.ts and ${type} in the .proto` })
  }
  for (const [where, numbers] of read.reserved)
    for (const number of numbers)
      if (!reserved[where]?.numbers.includes(number)) found.push({ where, number, text: `${where}: ${number} is reserved in the .proto alone` })
  for (const method of read.methods) if (!methods.includes(method)) found.push({ where: method, text: `the method ${method} is in the .proto alone` })
  return found
}

/** The numbers of a .proto whose other file is lost. What was reserved for messages that are gone is lost with it. */
export function numbersIn({ methods, numbers, reserved }: ReadProto): ProtoNumbers {
  const messages: Record<string, Record<string, readonly [number, string]>> = {}
  const enums: Record<string, Record<string, number>> = {}
  for (const [where, { number, type }] of numbers) {
    const [name = '', field = ''] = where.split('.')
    if (type === undefined) enums[name] = { ...enums[name], [field]: number }
    else messages[name] = { ...messages[name], [field]: [number, type] }
  }
  return {
    methods: [...methods],
    messages,
    enums,
    reserved: Object.fromEntries([...reserved].map(([name, gone]) => [name, { numbers: gone, names: [] }])),
  }
}
