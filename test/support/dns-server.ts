import { createSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Answer, AUTHORITATIVE_ANSWER, type DecodedPacket, decode, encode, type Packet, type Question } from 'dns-packet'
import { onTestFinished } from 'vitest'

const NXDOMAIN = 3

/** The reply to a question: records, a whole message of one's own, or nothing. */
export type Answering = (
  question: Question,
  asked: { over: 'udp' | 'tcp'; query: DecodedPacket; from: number },
) => Answer[] | Packet | Buffer | undefined

export interface TestDnsServer {
  host: string
  port: number
  /** `TYPE name over udp`, in the order in which they came. */
  questions: string[]
  /** UDP ports that questions came from. */
  sources: number[]
  answer: Answering
  /** A datagram to a port of this machine. @default whoever asked last */
  send(bytes: Buffer, port?: number): void
  /** TCP connections that stay open, after a moment. */
  connections(): Promise<number>
  /** Leaves TCP to another server. */
  replaceTcp(server: Server): Promise<void>
  close(): Promise<void>
}

export const srv = (name: string, target: string, port: number, { ttl = 30, priority = 0, weight = 0 } = {}): Answer => ({
  type: 'SRV',
  name,
  ttl,
  data: { target, port, priority, weight },
})
export const a = (name: string, data: string, ttl = 30): Answer => ({ type: data.includes(':') ? 'AAAA' : 'A', name, ttl, data })
export const cname = (name: string, data: string, ttl = 30): Answer => ({ type: 'CNAME', name, ttl, data })
export const soa = (minimum: number, ttl = 30): Answer => ({
  type: 'SOA',
  name: 'example',
  ttl,
  data: { mname: 'ns.example', rname: 'root.example', serial: 1, refresh: 1, retry: 1, expire: 1, minimum },
})
/** There is no such name. */
export const noSuchName = (minimum = 30): Packet => ({ flags: AUTHORITATIVE_ANSWER | NXDOMAIN, authorities: [soa(minimum)] })

/** Answers from a list of records, as a server does that brings no additional ones. */
export const zone =
  (...records: Answer[]): Answering =>
  ({ name, type }) => {
    const own = records.filter(record => record.name === name)
    if (own.length === 0) return noSuchName()
    const found = own.filter(record => record.type === type || record.type === 'CNAME')
    return found.length > 0 ? found : { authorities: [soa(30)] }
  }

/** A DNS server in this process, over UDP and TCP on the same port, that says what a test wants. */
export async function startDnsServer(answer: Answering = () => [], host = '127.0.0.1'): Promise<TestDnsServer> {
  const udp = createSocket('udp4')
  const connections = new Set<Socket>()
  const reply = (bytes: Buffer, over: 'udp' | 'tcp', from = 0): Buffer | undefined => {
    const query = decode(bytes)
    const [question] = query.questions as [Question]
    started.questions.push(`${question.type} ${question.name} over ${over}`)
    const given = started.answer(question, { over, query, from })
    if (given === undefined || Buffer.isBuffer(given)) return given
    const whole: Packet = Array.isArray(given) ? { answers: given } : given
    return encode({ type: 'response', id: query.id, flags: AUTHORITATIVE_ANSWER, questions: [question], ...whole } as Packet)
  }
  udp.on('message', (bytes, { address, port }) => {
    started.sources.push(port)
    const answered = reply(bytes, 'udp', port)
    if (answered) udp.send(answered, port, address)
  })
  const tcp = createServer(socket => {
    connections.add(socket)
    socket.on('error', () => {}).on('close', () => connections.delete(socket))
    socket.on('data', async bytes => {
      const answered = reply(bytes.subarray(2), 'tcp')
      if (!answered) return
      const length = Buffer.alloc(2)
      length.writeUInt16BE(answered.length)
      // In pieces, as a network may bring it.
      const message = Buffer.concat([length, answered])
      for (const piece of [message.subarray(0, 1), message.subarray(1, 20), message.subarray(20)]) {
        socket.write(piece)
        await nextTurn()
      }
    })
  })
  await new Promise<void>(resolve => tcp.listen(0, host, resolve))
  const { port } = tcp.address() as { port: number }
  await new Promise<void>((resolve, reject) => udp.once('error', reject).bind(port, host, resolve))
  let isClosed = false
  const close = async () => {
    for (const socket of connections) socket.destroy()
    if (isClosed) return
    isClosed = true
    udp.close()
    if (tcp.listening) await new Promise(resolve => tcp.close(resolve))
  }
  onTestFinished(close)
  const started: TestDnsServer = {
    host,
    port,
    questions: [],
    sources: [],
    answer,
    close,
    send: (bytes, to = started.sources.at(-1) ?? 0) => udp.send(bytes, to, host),
    connections: async () => {
      for (let turns = 0; connections.size > 0 && turns < 1_000; turns++) await nextTurn()
      return connections.size
    },
    replaceTcp: async server => {
      await new Promise(resolve => tcp.close(resolve))
      await new Promise<void>(resolve => server.listen(port, host, resolve))
    },
  }
  return started
}
