import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { type DnsServer, describeDnsServer as describe } from '../../contract/dns-server.ts'

/** What is read from the bytes of a server; undefined: they are not the answer, and may be somebody else's. */
export type Read<T> = (bytes: Buffer) => T | undefined

/** The server did not answer in time. */
export class NoReply extends Error {
  override name = 'NoReply'
}

interface Exchange<T> {
  resolve(value: T): void
  reject(error: unknown): void
}

/** Runs until it is settled, the time is over or the signal aborts; what `begin` returns is then called. */
async function bounded<T>(server: DnsServer, timeoutMs: number, signal: AbortSignal, begin: (exchange: Exchange<T>) => () => void): Promise<T> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => reject(new NoReply(`${describe(server)} did not answer in ${timeoutMs} ms`)), timeoutMs)
  const end = begin({ resolve, reject })
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    end()
  }
}

/** From a socket of its own, hence a port that nobody can guess. Bytes that are not the answer are passed over. */
export const overUdp = <T>(server: DnsServer, question: Buffer, read: Read<T>, timeoutMs: number, signal: AbortSignal): Promise<T> =>
  bounded(server, timeoutMs, signal, ({ resolve, reject }) => {
    const socket = createSocket(isIPv6(server.host) ? 'udp6' : 'udp4')
    socket.on('error', reject).on('message', bytes => {
      try {
        const answer = read(bytes)
        if (answer !== undefined) resolve(answer)
      } catch (error) {
        reject(error)
      }
    })
    // Connected: the system passes on what comes from this server alone, and says when nobody is there.
    socket.connect(server.port, server.host, () => socket.send(question, error => error && reject(error)))
    return () => socket.close()
  })

/** For what does not fit into a datagram. Each message has its length before it (RFC 1035 section 4.2.2), so none is larger than 64 KiB. */
export const overTcp = <T>(server: DnsServer, question: Buffer, read: Read<T>, timeoutMs: number, signal: AbortSignal): Promise<T> =>
  bounded(server, timeoutMs, signal, ({ resolve, reject }) => {
    const socket = connect({ host: server.host, port: server.port, noDelay: true })
    const length = Buffer.alloc(2)
    length.writeUInt16BE(question.length)
    socket.write(Buffer.concat([length, question]))
    const chunks: Buffer[] = []
    let size = 0
    let wanted = 2
    socket
      .on('error', reject)
      .on('end', () => reject(new Error(`${describe(server)} closed the connection before its answer was complete`)))
      .on('data', chunk => {
        chunks.push(chunk)
        size += chunk.length
        if (size < wanted) return
        const bytes = Buffer.concat(chunks)
        wanted = 2 + bytes.readUInt16BE(0)
        if (size < wanted) return
        try {
          const answer = read(bytes.subarray(2, wanted))
          if (answer === undefined) throw new Error(`${describe(server)} answered something else`)
          resolve(answer)
        } catch (error) {
          reject(error)
        }
      })
    return () => socket.destroy()
  })
