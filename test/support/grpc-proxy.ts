import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { writeDetails } from '../../services/chassis/grpc/error-details.ts'
import { GRPC_CONTENT_TYPE } from '../../services/chassis/grpc/frame.ts'
import { reasonOf } from '../../services/chassis/grpc/names.ts'
import { CODES, codeOfStatus } from '../../services/chassis/grpc/status.ts'

/** A call on its way through the proxy. */
export interface ProxiedCall {
  /** The method's own name, e.g. `ReserveCredit`. */
  method: string
  /** Framed. */
  message: Buffer
  /** Has the callee answer. @returns what sends its answer on */
  forward(): Promise<() => void>
  /** Answers in its place. */
  refuse(status: number, code: string): void
  /** Ends the connection without an answer. */
  lose(): void
}

export interface GrpcProxy {
  host: string
  /** Refuses connections until `up`. */
  down(): Promise<void>
  up(): Promise<void>
  close(): Promise<void>
}

/** Stands between a caller and a callee called `domain`. */
export async function startGrpcProxy(target: string, domain: string, handle: (call: ProxiedCall) => Promise<void>): Promise<GrpcProxy> {
  const sessions = new Set<ServerHttp2Session>()
  let toCallee: ClientHttp2Session | undefined
  const calleeSession = () => {
    if (!toCallee || toCallee.destroyed || toCallee.closed) toCallee = connect(`http://${target}`).on('error', () => {})
    return toCallee
  }
  const server = createServer()
  server.on('session', session => {
    sessions.add(session)
    session.on('error', () => {}).once('close', () => sessions.delete(session))
  })
  server.on('stream', async (stream, headers) => {
    stream.on('error', () => {})
    try {
      const message = await buffer(stream)
      await handle({
        method: headers[':path']?.split('/').at(-1) ?? '',
        message,
        forward: () => forward(calleeSession(), stream, headers, message),
        refuse: (status, code) => refuse(stream, domain, status, code),
        lose: () => stream.session?.destroy(),
      })
    } catch {
      stream.session?.destroy()
    }
  })
  const listen = (port: number) => new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  const down = async () => {
    const closed = new Promise(resolve => server.close(resolve))
    for (const session of sessions) session.destroy()
    await closed
  }
  await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    host: `127.0.0.1:${port}`,
    down,
    up: () => listen(port),
    close: async () => {
      toCallee?.destroy()
      if (server.listening) await down()
    },
  }
}

const FORWARDED = [':path', 'authorization', 'content-type', 'te']

async function forward(session: ClientHttp2Session, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, message: Buffer): Promise<() => void> {
  const request = session.request({ ':method': 'POST', ...Object.fromEntries(FORWARDED.map(name => [name, headers[name]])) })
  let head: IncomingHttpHeaders = {}
  let trailers: IncomingHttpHeaders | undefined
  request.on('response', came => {
    head = came
  })
  request.on('trailers', came => {
    trailers = came
  })
  request.end(message)
  const body = await buffer(request)
  return () => {
    if (stream.destroyed) return
    if (body.length === 0) return void stream.respond({ ...head }, { endStream: true })
    stream.respond({ ...head }, { waitForTrailers: true })
    stream.once('wantTrailers', () => stream.sendTrailers({ ...trailers }))
    stream.end(body)
  }
}

function refuse(stream: ServerHttp2Stream, domain: string, status: number, code: string): void {
  const name = codeOfStatus(status)
  if (stream.destroyed) return
  stream.respond(
    {
      ':status': constants.HTTP_STATUS_OK,
      'content-type': GRPC_CONTENT_TYPE,
      'grpc-status': String(CODES[name]),
      'grpc-status-details-bin': writeDetails(name, 'As the test asks', { reason: reasonOf(code), domain, metadata: { status: String(status) } }),
    },
    { endStream: true },
  )
}
