import { type Answer, type DecodedPacket, decode, encode, type OptAnswer, RECURSION_DESIRED } from 'dns-packet'

export type QuestionType = 'SRV' | 'A' | 'AAAA'

export interface Question {
  /** Fully qualified. */
  name: string
  type: QuestionType
}

/** What a server knows of a name. */
export interface Reply {
  /** NXDOMAIN: there is no such name. */
  rcode: 'NOERROR' | 'NXDOMAIN'
  answers: Answer[]
  authorities: Answer[]
  additionals: Answer[]
}

/** A server that answers, and does not know: another one may. */
export class ServerFailure extends Error {
  override name = 'ServerFailure'
}

/** What passes every network unfragmented: https://www.dnsflagday.net/2020 */
const UDP_BYTES = 1_232
/** A thousand instances with an address each. */
const MAX_RECORDS = 2_048
/** Names point at names: each record may lead through all pointers of a message. So many steps take 60 ms, and 500 instances stay below. */
const MAX_STEPS = 2_000_000

/** Names in DNS are the same in any case, and with the final dot or without. */
export const plain = (name: string): string => name.replace(/\.$/, '').toLowerCase()

/** A question in the format of RFC 1035, with the buffer size of RFC 6891. */
export function encodeQuestion(id: number, { name, type }: Question): Buffer {
  const edns: OptAnswer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_BYTES,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  }
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ name: plain(name), type, class: 'IN' }], additionals: [edns] })
}

/**
 * Reads a reply to that question.
 * @returns `truncated` when it has to be asked for over TCP; undefined for bytes that are no reply to it, whoever sent them
 * @throws ServerFailure when the server says that it does not know
 */
export function decodeReply(bytes: Buffer, id: number, question: Question): Reply | 'truncated' | undefined {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== id || bytes.readUInt16BE(4) !== 1) return undefined
  const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10)
  if (records > MAX_RECORDS || records * pointersIn(bytes) > MAX_STEPS) return undefined
  const packet = read(bytes)
  if (packet?.type !== 'response' || packet.opcode !== 'QUERY') return undefined
  const [asked] = packet.questions ?? []
  if (!asked || plain(asked.name) !== plain(question.name) || asked.type !== question.type || asked.class !== 'IN') return undefined
  if (packet.flag_tc) return 'truncated'
  const { rcode, answers = [], authorities = [], additionals = [] } = packet
  const extended = additionals.find((record): record is OptAnswer => record.type === 'OPT')?.extendedRcode ?? 0
  if ((rcode !== 'NOERROR' && rcode !== 'NXDOMAIN') || extended !== 0) throw new ServerFailure(`the server answers ${extended ? extended : rcode}`)
  return { rcode, answers, authorities, additionals }
}

/** At most: any byte that begins like one (RFC 1035 section 4.1.4). */
function pointersIn(bytes: Buffer): number {
  let count = 0
  for (const byte of bytes) if (byte >= 0xc0) count++
  return count
}

function read(bytes: Buffer): (DecodedPacket & { rcode?: string; opcode?: string }) | undefined {
  try {
    return decode(bytes)
  } catch {
    return undefined
  }
}
