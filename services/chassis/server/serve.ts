import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { MAX_HEAD_BYTES } from '../contract/limits.ts'
import { PROBLEM_CONTENT_TYPE } from '../contract/problem-document.ts'
import { FINISH_MS, KEEP_ALIVE_MS, LINGER_MS } from '../contract/timing.ts'
import { flushLog } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createAdminServer } from './admin.ts'
import { boundConnections, MAX_CONNECTIONS } from './connections.ts'
import { type GrpcListenOptions, listenGrpc } from './grpc/listen.ts'
import type { Health } from './health.ts'
import { listenWidely } from './listeners.ts'
import type { PlaceLimits } from './places.ts'
import { ProblemError } from './problem.ts'

export interface ServeOptions {
  handler: RequestListener
  host?: string
  port: number
  adminPort: number
  health: Health
  metrics: Metrics
  log: Logger
  /** Time after SIGTERM in which new connections are still taken, in milliseconds. @default 1000 */
  lingerMs?: number
  /** Time for requests in flight after that, in milliseconds. @default 10000 */
  finishMs?: number
  /** Time for a request's head to arrive, in milliseconds. @default 10000 */
  headersTimeoutMs?: number
  /** Longest time in which nothing moves on a connection with a request, in milliseconds; above every deadline of one. @default 60000 */
  silenceMs?: number
  /** Closed in order when the last request is done: relay, telemetry, pool. Each must be bounded in time. */
  closers?: (() => Promise<unknown>)[]
  /** Connections that may be open at once. @default 4096, half of them from one address */
  connections?: PlaceLimits
  /** The same operations by gRPC. */
  grpc?: Pick<GrpcListenOptions, 'handler' | 'port'>
}

export interface Running {
  port: number
  adminPort: number
  grpcPort?: number
  /** Stops taking work, finishes what is in flight, closes everything. Idempotent. */
  drain(): Promise<void>
}

/** Listens on all ports. */
export async function serve({
  handler,
  host,
  port,
  adminPort,
  health,
  metrics,
  log,
  lingerMs = LINGER_MS,
  finishMs = FINISH_MS,
  headersTimeoutMs = 10_000,
  silenceMs = 60_000,
  closers = [],
  connections = { total: MAX_CONNECTIONS, perSource: MAX_CONNECTIONS / 2 },
  grpc,
}: ServeOptions): Promise<Running> {
  let draining = false
  const server = createServer(
    {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: headersTimeoutMs,
      requestTimeout: 30_000,
      maxHeaderSize: MAX_HEAD_BYTES,
      connectionsCheckingInterval: headersTimeoutMs / 5,
    },
    (req, res) => {
      if (!boundPipeline(req, res)) return
      if (draining) res.setHeader('connection', 'close')
      handler(req, res)
    },
  )
  // Whoever does not read an answer, or says nothing at all.
  server.timeout = silenceMs
  boundConnections(server, connections, metrics)
  server.on('clientError', answerClientError)
  const admin = createAdminServer(health, metrics)
  metrics.readiness(async () => (await health.failing()).length === 0)
  const stopListening = await listenWidely(server, { port, host, backlog: MAX_CONNECTIONS })
  const rpc = grpc && (await listenGrpc({ ...grpc, ...(host && { host }), log, metrics }))
  await listen(admin, adminPort, host)
  const running = { port: portOf(server), adminPort: portOf(admin), ...(rpc && { grpcPort: rpc.port }) }
  log.info(running, 'listening')

  let drained: Promise<void> | undefined
  const drain = async () => {
    log.info({ lingerMs, finishMs }, 'draining')
    health.drain()
    draining = true
    const rpcDrained = rpc?.drain({ lingerMs, finishMs })
    await sleep(lingerMs)
    const closed = stopListening()
    // Again and again: a connection becomes idle when the request that was in flight on it is answered.
    const sweep = setInterval(() => server.closeIdleConnections(), 50)
    const force = setTimeout(() => server.closeAllConnections(), finishMs)
    await Promise.all([closed, rpcDrained])
    clearTimeout(force)
    clearInterval(sweep)
    for (const close of closers) await close().catch((error: unknown) => log.warn({ err: error }, 'a resource did not close'))
    admin.close()
    admin.closeAllConnections()
    log.info('drained')
    await flushLog(log)
  }
  return {
    ...running,
    drain: () => {
      drained ??= drain()
      return drained
    },
  }
}

/** Requests of one connection that wait for an answer at once: pipelining (RFC 9112 section 9.3.2), which no client of today does. */
const MAX_PIPELINED = 16
const unanswered = new WeakMap<Socket, number>()

/** Whether a connection may have one more request under way; one that has too many is closed. */
function boundPipeline({ socket }: IncomingMessage, res: ServerResponse): boolean {
  const waiting = (unanswered.get(socket) ?? 0) + 1
  if (waiting > MAX_PIPELINED) {
    socket.destroy()
    return false
  }
  unanswered.set(socket, waiting)
  res.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1))
  return true
}

/** Drains on SIGTERM and SIGINT and then exits 0. A second signal exits at once. */
export function drainOnSignal(running: Running, exit: (code: number) => never = process.exit): void {
  let signalled = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (signalled) exit(1)
      signalled = true
      void running.drain().then(() => exit(0))
    })
  }
}

const portOf = (server: Server) => (server.address() as AddressInfo).port

const listen = (server: Server, port: number, host: string | undefined) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })

const CLIENT_ERRORS: Record<string, [number, string, string, string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'headers-too-large', 'The request head is larger than 16 KiB'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'request-timeout', 'The request did not arrive in time'],
}

/** What never became a request (RFC 9112 section 2.2) is still answered with a problem document. */
function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Node's own field, which its default for this event looks at as well: what is written now would be part of that answer.
  const answerHasBegun = (socket as { _httpMessage?: ServerResponse })._httpMessage?.headersSent
  if (error.code === 'ECONNRESET' || !socket.writable || answerHasBegun) {
    socket.destroy()
    return
  }
  const [status, reason, code, detail] = CLIENT_ERRORS[error.code ?? ''] ?? [400, 'Bad Request', 'malformed-request', 'This is not valid HTTP']
  const body = JSON.stringify(new ProblemError(status, code, detail))
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: ${PROBLEM_CONTENT_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    // Otherwise a client that does not close its half keeps the connection for ever.
    () => socket.destroy(),
  )
}
