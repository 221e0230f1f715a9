import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerOptions,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type Koa from 'koa'
import type { Logger } from 'pino'
import { MAX_HEAD_BYTES } from '../../contract/limits.ts'
import { OWN_AGENT, UNCOUNTED_MB } from '../../grpc/frame.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { boundConnections } from '../connections.ts'
import type { PlaceLimits } from '../places.ts'

export interface GrpcListenOptions {
  handler: ReturnType<Koa['callback']>
  port: number
  host?: string
  log: Logger
  metrics: Metrics
  /** Connections that may be open at once; callers keep one each. @default 1024, 256 of them from one address */
  connections?: PlaceLimits
  /** Longest time in which nothing moves on a connection, in milliseconds. @default 300000 */
  silenceMs?: number
  /** Time for the first stream of a connection, in milliseconds. @default 10000 */
  firstStreamMs?: number
  /** Age at which a caller that is not ours is told to connect again, since it may find its pods at connect alone; in milliseconds. @default 300000 */
  foreignAgeMs?: number
}

export interface GrpcListener {
  port: number
  /** Takes no new streams, once callers have been told; finishes what is in flight, at most `finishMs`. */
  drain(options: { lingerMs: number; finishMs: number }): Promise<void>
}

/**
 * What a peer may cost; Node closes a connection that passes one of these. Resets are what a caller does whose attempts run out of time, so that
 * there is room for as many as a caller in trouble makes, 5,000 at once, 500 per second; a stream that is refused because of them is no crime
 * either. What else nghttp2 and Node hold to by themselves is in docs/decisions/2026-11-27-floods-of-http2.md.
 */
const BOUNDS: ServerOptions = {
  settings: { maxConcurrentStreams: 256, maxHeaderListSize: MAX_HEAD_BYTES, enablePush: false },
  maxHeaderListPairs: 64,
  maxSettings: 32,
  maxOutstandingPings: 10,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 5_000,
  maxSessionMemory: UNCOUNTED_MB,
  streamResetBurst: 5_000,
  streamResetRate: 500,
}

/** Listens for h2c. */
export async function listenGrpc({
  handler,
  port,
  host,
  log,
  metrics,
  connections = { total: 1_024, perSource: 256 },
  silenceMs = 300_000,
  firstStreamMs = 10_000,
  foreignAgeMs = 300_000,
}: GrpcListenOptions): Promise<GrpcListener> {
  const server = createServer(BOUNDS, bounded(handler))
  const sessions = new Set<ServerHttp2Session>()
  boundConnections(server as never, connections, metrics)
  server.on('sessionError', error => log.debug({ code: (error as NodeJS.ErrnoException).code }, 'a gRPC connection broke'))
  server.on('session', session => {
    sessions.add(session)
    session.setTimeout(silenceMs, () => session.close())
    const age = setTimeout(() => session.close(), foreignAgeMs * (0.9 + Math.random() * 0.2))
    const first = setTimeout(() => session.destroy(), firstStreamMs)
    session.once('stream', (_, headers) => {
      clearTimeout(first)
      if (String(headers['user-agent'] ?? '').startsWith(OWN_AGENT)) clearTimeout(age)
    })
    session.once('close', () => {
      clearTimeout(first)
      clearTimeout(age)
      sessions.delete(session)
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return { port: (server.address() as AddressInfo).port, drain: options => drain(server, sessions, options) }
}

/**
 * A stream that was reset in the bytes that opened it never becomes a call: it costs a tenth, and callers in trouble as well as attackers send
 * thousands. And the limit of a head's size holds whether or not the caller has acknowledged it, for which Node waits.
 */
const bounded =
  (handler: GrpcListenOptions['handler']) =>
  (req: Http2ServerRequest, res: Http2ServerResponse): void =>
    void setImmediate(() => {
      const { stream } = res
      if (stream.closed || stream.destroyed) return
      if (headBytes(req) > MAX_HEAD_BYTES) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
      else void handler(req, res)
    })

/** As RFC 9113 section 6.5.2 counts. */
const headBytes = ({ rawHeaders }: Http2ServerRequest) => rawHeaders.reduce((sum, text) => sum + text.length + 16, 0)

/** RFC 9113 section 6.8: first a notice that refuses nothing, then, when every caller has had time to read it, the end of new streams. */
async function drain(server: Http2Server, sessions: Set<ServerHttp2Session>, { lingerMs, finishMs }: { lingerMs: number; finishMs: number }) {
  const notify = () => {
    for (const session of sessions) if (!session.closed) session.goaway(constants.NGHTTP2_NO_ERROR, LAST_POSSIBLE_STREAM)
  }
  notify()
  await sleep(lingerMs)
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  for (const session of sessions) session.close()
  const force = setTimeout(() => {
    for (const session of sessions) session.destroy()
  }, finishMs)
  await closed
  clearTimeout(force)
}

const LAST_POSSIBLE_STREAM = 2 ** 31 - 1
