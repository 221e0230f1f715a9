import type { ProtoNumbers, ServiceDefinition } from '@fairlead/chassis'
import { modelOf, protoPath } from '@fairlead/chassis/grpc'
import { assignNumbers, reserve, wrongNumbers } from './numbers.ts'
import { printNumbers } from './numbers-file.ts'
import { printProto } from './print.ts'
import { type Disagreement, disagreements, numbersIn, readProto } from './read.ts'

export const protoFile = (service: { name: string }): string => `proto/${protoPath(service)}`

export const numbersFile = ({ name }: { name: string }): string => `services/${name}/proto.ts`

export interface ProtoFiles {
  /** By path. */
  files: Map<string, string>
  /** What whoever has the messages of before can no longer do, one line each. */
  breaking: string[]
  /** Numbers that cannot be kept as they are, one line each. */
  wrong: string[]
}

/**
 * The .proto of a service and the module with its numbers.
 * @param kept the numbers of before
 * @param printed the .proto of before, which says the same unless somebody edited one of the two
 */
export function protoFiles(
  service: Pick<ServiceDefinition, 'name' | 'contract'>,
  { kept, printed }: { kept?: ProtoNumbers | undefined; printed?: string | undefined } = {},
): ProtoFiles {
  const model = modelOf(service)
  const read = printed === undefined ? undefined : readProto(printed)
  const edited = kept && read ? disagreements(kept, read) : []
  const before = kept ? withReserved(kept, edited) : read && numbersIn(read)
  const { numbers, breaking } = assignNumbers(model, before)
  const files = new Map([
    [protoFile(service), printProto(service, model, numbers)],
    [numbersFile(service), printNumbers(service.name, numbers)],
  ])
  return { files, breaking: [...edited.map(({ text }) => text), ...breaking], wrong: kept ? wrongNumbers(kept) : [] }
}

/** What the .proto gave to somebody has no other meaning later. */
function withReserved(kept: ProtoNumbers, edited: Disagreement[]): ProtoNumbers {
  const reserved = { ...kept.reserved }
  for (const { where, number } of edited) {
    const name = where.replace(/\..*/, '')
    const taken = [...Object.values(kept.messages[name] ?? {}).map(([one]) => one), ...Object.values(kept.enums[name] ?? {})]
    if (number !== undefined && !taken.includes(number)) reserve(reserved, name, number)
  }
  return { ...kept, reserved }
}
