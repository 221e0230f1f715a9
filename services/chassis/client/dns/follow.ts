import type { Answer, SoaAnswer, SrvAnswer, StringAnswer } from 'dns-packet'
import { plain, type Question, type QuestionType, type Reply } from './message.ts'
import type { Resolver } from './resolver.ts'

const MAX_ALIASES = 8

export interface Followed<T> {
  /** Empty: the name has none, or there is no such name. */
  records: T[]
  /** How long they count, in seconds; also how long it counts that there are none. */
  ttl: number
  /** The message that they came in. */
  reply: Reply
}

interface RecordOf {
  SRV: SrvAnswer
  A: StringAnswer
  AAAA: StringAnswer
}

/**
 * The records of a name, or of the one that it is an alias of.
 * @throws Error when there is no answer, or aliases without end
 */
export async function follow<T extends QuestionType>(
  resolver: Resolver,
  { name: first, type }: Question & { type: T },
  signal: AbortSignal,
): Promise<Followed<RecordOf[T]>> {
  let name = plain(first)
  let asked = name
  let aliasTtl = Number.POSITIVE_INFINITY
  let reply = await resolver.ask({ name, type }, signal)
  for (let links = 0; links <= MAX_ALIASES; links++) {
    const own = reply.answers.filter(record => plain(record.name) === name)
    const records = own.filter((record): record is RecordOf[T] & Answer => record.type === type)
    if (records.length > 0) return { records, ttl: Math.min(aliasTtl, ...records.map(ttlOf)), reply }
    const alias = own.find((record): record is StringAnswer => record.type === 'CNAME')
    if (alias) {
      aliasTtl = Math.min(aliasTtl, ttlOf(alias))
      name = plain(alias.data)
    } else if (asked !== name) {
      reply = await resolver.ask({ name, type }, signal)
      asked = name
    } else return { records: [], ttl: Math.min(aliasTtl, negativeTtl(reply)), reply }
  }
  throw new Error(`${first} is an alias of an alias, more than ${MAX_ALIASES} deep`)
}

export const ttlOf = (record: SrvAnswer | StringAnswer): number => record.ttl ?? 0

/** RFC 2308 section 5: the lesser of the SOA record's TTL and the minimum that it names. */
function negativeTtl({ authorities }: Reply): number {
  const soa = authorities.find((record): record is SoaAnswer => record.type === 'SOA')
  return soa ? Math.min(soa.ttl ?? 0, soa.data.minimum ?? 0) : 0
}
