import { constants, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2'
import type { Middleware } from 'koa'
import { frame, GRPC_CONTENT_TYPE, HEAD, isGrpc } from '../../grpc/frame.ts'
import { CODES } from '../../grpc/status.ts'
import { callOf, type Reply, streamOf } from './call.ts'

/**
 * Outermost: writes what the stages below have left as the answer, and ends a stream whose message was not read to its end.
 * @param readMs time in which a caller reads the answer, whose window may be closed; in milliseconds
 */
export function writeReply(readMs = 10_000): Middleware {
  return async (ctx, next) => {
    ctx.respond = false
    const stream = streamOf(ctx)
    if (ctx.method !== 'POST' || !isGrpc(ctx.get('content-type'))) return refuseOther(stream)
    await next()
    if (stream.destroyed) return
    const res = ctx.res as unknown as Http2ServerResponse
    const unread = !ctx.req.complete
    // RFC 9113 section 8.1: the answer is whole, and the rest of the request is not wanted. One of many messages ends with its trailers.
    const close = () => closeUnread(stream, constants.NGHTTP2_NO_ERROR)
    // A reset within that event would overtake them.
    if (unread && res.headersSent) stream.once('wantTrailers', () => setImmediate(close))
    const closes = unread && !res.headersSent
    write(res, callOf(ctx).reply ?? { code: 'INTERNAL' })
    if (closes) close()
    const late = setTimeout(() => closeUnread(stream, constants.NGHTTP2_CANCEL), readMs)
    stream.once('close', () => clearTimeout(late))
  }
}

/** Whoever speaks no gRPC is told so by HTTP, as the protocol asks. */
function refuseOther(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 415, accept: GRPC_CONTENT_TYPE }, { endStream: true })
  closeUnread(stream, constants.NGHTTP2_NO_ERROR)
}

/** Node keeps a closed stream until its message is read to its end, which nobody does here: with what has come of it, and its connection as well. */
function closeUnread(stream: ServerHttp2Stream, code: number): void {
  if (!stream.closed) stream.close(code)
  // What was written goes first.
  setImmediate(() => stream.destroy())
}

function write(res: Http2ServerResponse, { code, message, detail, details, headers }: Reply): void {
  const status = {
    'grpc-status': String(CODES[code]),
    ...(detail && { 'grpc-message': percentEncode(detail) }),
    ...(details && { 'grpc-status-details-bin': details }),
  }
  if (!message && !res.headersSent) {
    res.stream.respond({ ':status': 200, ...HEAD, ...headers, ...status }, { endStream: true })
    return
  }
  if (!res.headersSent) res.writeHead(200, { ...HEAD, ...headers })
  res.addTrailers(status)
  if (message) res.end(frame(message))
  else res.end()
}

/** As the protocol has it: everything but printable ASCII, and the percent sign. */
const percentEncode = (text: string): string => text.replace(/[^\x20-\x24\x26-\x7e]+/gu, part => encodeURIComponent(part.toWellFormed()))
