import { randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Posted } from './load.ts'

/** Load in an open loop: each request has a time at which it is due, whatever became of those before. */
export interface Arrivals {
  /** `http://host:port/path` */
  url: string
  /** What it is asked for by. @default the URL's */
  host?: string
  arrivalsPerSecond: number
  seconds: number
  /** Most that are open at once. A request that is due while none of them is free is a failure. */
  maxConnections: number
  /** What is posted; without it the URL is asked for. */
  posted?: Posted | undefined
}

export interface Answered {
  due: number
  /** Answers 2xx a second while requests were due; those that came later are in `statuses` alone. */
  goodPerSecond: number
  /** Of those that were due: how many had each status. */
  statuses: Record<string, number>
  /** No connection was free. */
  unsent: number
  /** The connection broke, or there was no answer two seconds after the last was due. */
  unanswered: number
  /** From when it was due to the answer, of those answered 2xx. */
  p50Ms: number
  p99Ms: number
  connections: number
}

/** How long answers are waited for after the last request was due. */
const PATIENCE_MS = 2_000
const TICK_MS = 1

interface Connection {
  socket: Socket
  /** When the request that it carries was due; undefined while it is free. */
  dueAt: number | undefined
  received: string
}

/** A generator that costs little beside the server that it loads: plain sockets and no more of HTTP than an answer's status and length. */
export async function arrive({ url, host = new URL(url).host, arrivalsPerSecond, seconds, maxConnections, posted }: Arrivals): Promise<Answered> {
  const { hostname, port, pathname } = new URL(url)
  const head = posted ? '' : `GET ${pathname} HTTP/1.1\r\nhost: ${host}\r\n\r\n`
  let turn = 0
  const request = () => {
    if (!posted) return head
    const { path, body, tokens } = posted
    const token = tokens[turn++ % tokens.length]
    return `POST ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\nidempotency-key: ${randomUUID()}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  }

  const result: Answered = { due: 0, goodPerSecond: 0, statuses: {}, unsent: 0, unanswered: 0, p50Ms: Number.NaN, p99Ms: Number.NaN, connections: 0 }
  const times: number[] = []
  const all = new Set<Connection>()
  const free: Connection[] = []
  let most = 0
  let good = 0
  const startedAt = performance.now()

  const settle = (connection: Connection, status: string | undefined) => {
    const { dueAt } = connection
    if (dueAt === undefined) return
    connection.dueAt = undefined
    if (status === undefined) result.unanswered++
    else {
      result.statuses[status] = (result.statuses[status] ?? 0) + 1
      if (!status.startsWith('2')) return
      const now = performance.now()
      times.push(now - dueAt)
      if (now - startedAt <= seconds * 1_000) good++
    }
  }
  const open = (dueAt: number) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    const connection: Connection = { socket, dueAt, received: '' }
    all.add(connection)
    most = Math.max(most, all.size)
    socket.setEncoding('latin1')
    socket.write(request())
    socket.on('data', (chunk: string) => {
      const text = connection.received + chunk
      const ends = text.indexOf('\r\n\r\n')
      const length = ends < 0 ? undefined : Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0)
      if (length === undefined || text.length < ends + 4 + length) {
        connection.received = text
        return
      }
      connection.received = ''
      settle(connection, text.slice(9, 12))
      if (/\r\nconnection: close/i.test(text.slice(0, ends))) socket.destroy()
      else free.push(connection)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      all.delete(connection)
      settle(connection, undefined)
    })
  }

  await new Promise<void>(resolve => {
    const tick = setInterval(() => {
      const elapsed = Math.min(performance.now() - startedAt, seconds * 1_000)
      const target = Math.floor((elapsed / 1_000) * arrivalsPerSecond)
      while (result.due < target) {
        const dueAt = startedAt + (result.due++ / arrivalsPerSecond) * 1_000
        // The one that was used last: its pages are warm on both ends.
        let connection = free.pop()
        while (connection?.socket.destroyed) connection = free.pop()
        if (connection) {
          connection.dueAt = dueAt
          connection.socket.write(request())
        } else if (all.size < maxConnections) open(dueAt)
        else result.unsent++
      }
      if (elapsed >= seconds * 1_000) {
        clearInterval(tick)
        resolve()
      }
    }, TICK_MS)
  })
  const endsAt = performance.now() + PATIENCE_MS
  while (performance.now() < endsAt && [...all].some(({ dueAt }) => dueAt !== undefined)) await sleep(10)
  const closed = [...all].map(({ socket }) => new Promise(resolve => socket.once('close', resolve)))
  for (const { socket } of all) socket.destroy()
  await Promise.all(closed)
  times.sort((a, b) => a - b)
  const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? Number.NaN
  return { ...result, goodPerSecond: good / seconds, p50Ms: quantile(0.5), p99Ms: quantile(0.99), connections: most }
}
