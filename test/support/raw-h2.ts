import { connect as connectH2, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** RFC 9113 section 6. */
export const FRAME = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 } as const
export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4 } as const

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

export function h2Frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Literals without indexing and without Huffman's code: RFC 7541 section 6.2.2. */
export const headerBlock = (headers: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(headers.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]))

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
  return Buffer.concat([Buffer.from([...length, rest]), bytes])
}

export const callHeaders = (path: string, more: readonly (readonly [string, string])[] = []) =>
  headerBlock([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'callee'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ])

export interface RawH2 {
  socket: Socket
  /** All that came so far. */
  frames: Frame[]
  send(...frames: Buffer[]): void
  /** Resolves when the server closes the connection. */
  closed: Promise<void>
  goaway(): number | undefined
}

/** A connection on which a test writes frames that no client library would. */
export function openRawH2(port: number, { settings = Buffer.alloc(0), reads = true } = {}): RawH2 {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  const frames: Frame[] = []
  let held = Buffer.alloc(0)
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  socket.on('close', () => resolve())
  if (reads)
    socket.on('data', chunk => {
      held = Buffer.concat([held, chunk])
      while (held.length >= 9 && held.length >= 9 + held.readUIntBE(0, 3)) {
        const length = held.readUIntBE(0, 3)
        frames.push({ type: held.readUInt8(3), flags: held.readUInt8(4), stream: held.readUInt32BE(5), payload: held.subarray(9, 9 + length) })
        held = held.subarray(9 + length)
      }
    })
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), h2Frame(FRAME.SETTINGS, 0, 0, settings)]))
  return {
    socket,
    frames,
    send: (...parts) => void (socket.destroyed || socket.write(Buffer.concat(parts))),
    closed,
    goaway: () => frames.find(({ type }) => type === FRAME.GOAWAY)?.payload.readUInt32BE(4),
  }
}

export interface RpcReply {
  http: number | undefined
  /** grpc-status, in the head or in trailers. */
  status: number | undefined
  message: string | undefined
  headers: IncomingHttpHeaders
  details: string | undefined
  body: Buffer
  rst: number | undefined
}

export interface RpcAsk {
  headers?: OutgoingHttpHeaders
  /** As it is sent; undefined: the stream ends with its head. */
  body?: Uint8Array | undefined
  /** After the body. */
  trailers?: OutgoingHttpHeaders
  /** The stream is left open. */
  open?: boolean
}

/** A gRPC connection whose calls may be as wrong as a test wants. */
export function openRpc(port: number) {
  const session = connectH2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  onTestFinished(() => session.destroy())
  const ask = (path: string, { headers = {}, body, trailers, open }: RpcAsk = {}): Promise<RpcReply> =>
    new Promise(resolve => {
      const stream = session.request(
        { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
        { endStream: false, ...(trailers && { waitForTrailers: true }) },
      )
      let head: IncomingHttpHeaders = {}
      let end: IncomingHttpHeaders = {}
      const chunks: Buffer[] = []
      stream.on('response', came => {
        head = came
      })
      stream.on('trailers', came => {
        end = came
      })
      stream.on('data', chunk => chunks.push(chunk))
      stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}))
      stream.on('error', () => {})
      stream.on('close', () => {
        const source = head['grpc-status'] === undefined ? end : head
        resolve({
          http: head[':status'] as number | undefined,
          status: source['grpc-status'] === undefined ? undefined : Number(source['grpc-status']),
          message: source['grpc-message'] as string | undefined,
          details: source['grpc-status-details-bin'] as string | undefined,
          headers: head,
          body: Buffer.concat(chunks),
          rst: stream.rstCode,
        })
      })
      if (body) stream.write(body)
      if (!open) stream.end()
    })
  return { session, ask }
}
