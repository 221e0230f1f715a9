import { connect, type Socket } from 'node:net'
import type { Reply } from './http.ts'

/** A connection on which a test writes what no client library would. */
export interface RawConnection {
  socket: Socket
  /** All that comes back until the service closes the connection. */
  reply: Promise<Reply>
}

export function openRaw(port: number): RawConnection {
  const socket = connect(port, '127.0.0.1')
  const { promise: reply, resolve } = Promise.withResolvers<Reply>()
  let text = ''
  socket.setEncoding('latin1')
  socket.on('data', chunk => {
    text += chunk
  })
  // A reset after the answer is the service's way of not reading the rest.
  socket.on('error', () => {})
  socket.on('close', () => resolve(parse(text)))
  socket.setTimeout(10_000, () => socket.destroy())
  return { socket, reply }
}

/** Sends one request, head lines and body as they are, and gives the answer; asks for the connection to be closed. */
export function rawRequest(port: number, requestLine: string, headers: string[] = [], body = ''): Promise<Reply> {
  const { socket, reply } = openRaw(port)
  socket.write(`${[`${requestLine} HTTP/1.1`, 'host: localhost', 'connection: close', ...headers].join('\r\n')}\r\n\r\n${body}`, 'latin1')
  return reply
}

function parse(text: string): Reply {
  const end = text.indexOf('\r\n\r\n')
  const [first = '', ...lines] = text.slice(0, end === -1 ? undefined : end).split('\r\n')
  const headers = new Headers(lines.map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as [string, string]))
  const type = headers.get('content-type') ?? ''
  const body = end === -1 ? '' : text.slice(end + 4)
  return { status: Number(first.split(' ')[1]), headers, type, body: /json/.test(type) && body !== '' ? JSON.parse(body) : body }
}
