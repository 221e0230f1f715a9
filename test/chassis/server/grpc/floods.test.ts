import { constants } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { defineContract, strict } from '../../../../services/chassis/contract/contract.ts'
import { frame } from '../../../../services/chassis/grpc/frame.ts'
import { CODES } from '../../../../services/chassis/grpc/status.ts'
import { listenGrpc } from '../../../../services/chassis/server/grpc/listen.ts'
import { writeReply } from '../../../../services/chassis/server/grpc/reply.ts'
import { startPair } from '../../../support/protocols.ts'
import { callHeaders, FLAG, FRAME, h2Frame, headerBlock, openRawH2, openRpc, type RawH2 } from '../../../support/raw-h2.ts'
import { testRuntime } from '../../../support/runtime.ts'

const contract = defineContract({
  echo: {
    method: 'PUT',
    path: '/echo',
    summary: 'Echo',
    auth: 'none',
    body: strict({ text: z.string().max(60_000) }),
    responses: { 200: { description: 'The same', body: strict({ text: z.string() }) } },
  },
})

const ECHO = '/callee.v1.CalleeService/Echo'
const HI = frame(Buffer.from([0x0a, 2, 0x68, 0x69]))

async function start(timeoutMs = 20_000) {
  const calls = { count: 0 }
  const pair = await startPair(
    'grpc',
    contract,
    {
      echo: ({ body }) => {
        calls.count++
        return { status: 200, body: { text: body.text } }
      },
    },
    { maxConcurrency: 300, timeoutMs, body: { timeoutMs }, edge: { attemptTimeoutMs: 9_500, maxAttempts: 1 } },
  )
  return { ...pair, calls }
}

/** A caller that calls as it should, until it is asked how it went. */
function neighbour(port: number) {
  const { ask, session } = openRpc(port)
  let going = true
  const done = (async () => {
    const replies: unknown[] = []
    while (going) replies.push((await ask(ECHO, { body: HI })).status)
    return replies
  })()
  return async () => {
    going = false
    const replies = await done
    expect(replies.length).toBeGreaterThan(0)
    expect(replies.filter(status => status !== CODES.OK)).toEqual([])
    expect(session.closed).toBe(false)
  }
}

/** Sends what `make` makes until the connection is closed, at most `count` times. */
async function flood({ socket, closed }: RawH2, count: number, make: (at: number) => Buffer): Promise<boolean> {
  const end = { closed: false }
  void closed.then(() => {
    end.closed = true
  })
  for (let sent = 0; sent < count && !end.closed; ) {
    const parts: Buffer[] = []
    for (let i = 0; i < 2_000 && sent < count; i++) parts.push(make(sent++))
    const drained = socket.write(Buffer.concat(parts)) || new Promise<void>(resolve => socket.once('drain', resolve))
    await Promise.race([drained, closed])
    await Promise.race([sleep(0), closed])
  }
  return Promise.race([closed.then(() => true), sleep(5_000, false)])
}

const idOf = (at: number) => 2 * at + 1
const opening = h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, callHeaders(ECHO))
const reset = (id: number) => h2Frame(FRAME.RST_STREAM, 0, id, Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL]))

describe('a flood', () => {
  const whole = (id: number) =>
    Buffer.concat([h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, id, callHeaders(ECHO)), h2Frame(FRAME.DATA, FLAG.END_STREAM, id, HI)])
  test.each<[string, (at: number) => Buffer, { before?: Buffer; reads?: boolean }?]>([
    ['of PING frames that are not read', () => h2Frame(FRAME.PING, 0, 0, Buffer.alloc(8)), { reads: false }],
    ['of SETTINGS frames that are not read', () => h2Frame(FRAME.SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 9])), { reads: false }],
    ['of long SETTINGS frames', () => h2Frame(FRAME.SETTINGS, 0, 0, Buffer.alloc(6 * 40))],
    [
      'of CONTINUATION frames',
      () => h2Frame(FRAME.CONTINUATION, 0, 1, headerBlock([['a', 'b']])),
      { before: h2Frame(FRAME.HEADERS, 0, 1, callHeaders(ECHO)) },
    ],
    ['of empty CONTINUATION frames', () => h2Frame(FRAME.CONTINUATION, 0, 1), { before: h2Frame(FRAME.HEADERS, 0, 1, callHeaders(ECHO)) }],
    ['of empty DATA frames', () => h2Frame(FRAME.DATA, 0, 1), { before: opening }],
    ['of PRIORITY frames', () => h2Frame(FRAME.PRIORITY, 0, 1, Buffer.from([0, 0, 0, 0, 1]))],
    ['of frames of unknown types', () => h2Frame(0xbe, 0, 0, Buffer.alloc(8))],
    [
      'of heads that are not HTTP',
      at =>
        h2Frame(
          FRAME.HEADERS,
          5,
          idOf(at),
          headerBlock([
            [':method', 'POST'],
            ['Upper', 'x'],
          ]),
        ),
    ],
    ['of streams above the limit', at => h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, idOf(at), callHeaders(ECHO))],
    ['of whole calls above the limit', at => whole(idOf(at))],
    [
      'of streams that make the server reset them',
      at =>
        Buffer.concat([
          h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, idOf(at), callHeaders(ECHO)),
          h2Frame(FRAME.WINDOW_UPDATE, 0, idOf(at), Buffer.alloc(4)),
        ]),
    ],
    [
      'of streams that are reset at once',
      at => Buffer.concat([h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, idOf(at), callHeaders(ECHO)), reset(idOf(at))]),
    ],
  ])('%s ends its connection, and nobody else notices', async (_, make, { before, reads = true } = {}) => {
    const { port } = await start()
    const others = neighbour(port)
    const raw = openRawH2(port, { reads })
    if (before) raw.send(before)
    expect(await flood(raw, 60_000, make)).toBe(true)
    await others()
  })

  test.each<[string, (at: number) => Buffer, Buffer?]>([
    ['WINDOW_UPDATE frames', () => h2Frame(FRAME.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 1]))],
    ['PING frames whose answers are read', () => h2Frame(FRAME.PING, 0, 0, Buffer.alloc(8))],
    ['DATA frames of one byte', () => h2Frame(FRAME.DATA, 0, 1, Buffer.from([0])), opening],
  ])('of 20,000 %s harms nobody else', async (_, make, before) => {
    const { port } = await start()
    const others = neighbour(port)
    const raw = openRawH2(port)
    if (before) raw.send(before)
    await Promise.race([flood(raw, 20_000, make), sleep(3_000)])
    await others()
  })
})

test('5,000 streams that are reset at once end no connection, hardly begin a call, and neighbours on it are answered', async () => {
  const { port, calls, callee } = await start()
  const raw = openRawH2(port)
  const others = neighbour(port)
  const parts: Buffer[] = []
  for (let at = 0; at < 4_999; at++) parts.push(h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, idOf(at), callHeaders(ECHO)), reset(idOf(at)))
  const last = idOf(4_999)
  raw.send(...parts, h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, last, callHeaders(ECHO)), h2Frame(FRAME.DATA, FLAG.END_STREAM, last, HI))
  await vi.waitFor(() => expect(raw.frames.some(({ type, stream }) => type === FRAME.DATA && stream === last)).toBe(true), { timeout: 15_000 })
  expect(raw.goaway()).toBeUndefined()
  await others()
  expect(raw.socket.destroyed).toBe(false)
  expect(calls.count).toBeGreaterThan(1)
  const { text } = await callee.runtime.metrics.expose(undefined)
  const counts = text.matchAll(/^rpc_server_call_duration_seconds_count\{.*rpc_response_status_code="(\w+)".*\} (\d+)$/gm)
  const begun = [...counts].filter(([, code]) => code !== 'OK').map(([, , count]) => Number(count))
  // One whose reset came with the next bytes that were read.
  expect(begun.reduce((sum, count) => sum + count, 0)).toBeLessThan(100)
})

test('a caller of ours whose 1,000 calls run out of time at once keeps its connection', async () => {
  const gate = Promise.withResolvers<void>()
  const { client, caller } = await startPair(
    'grpc',
    contract,
    { echo: () => gate.promise.then(() => ({ status: 200, body: { text: '' } })) },
    {
      maxConcurrency: 2_000,
      edge: { attemptTimeoutMs: 300, maxAttempts: 1 },
    },
  )
  const calls = Array.from({ length: 1_000 }, () => client.call(caller.runtime.scope(), 'echo', { body: { text: '' } }))
  const ends = await Promise.allSettled(calls)
  expect(ends.every(({ status }) => status === 'rejected')).toBe(true)
  gate.resolve()
  expect(await client.call(caller.runtime.scope(), 'echo', { body: { text: '' } })).toMatchObject({ status: 200 })
})

test.each([100, 500])('%i calls at once from one client of ours are all answered', async count => {
  const { client, caller, callee } = await start()
  const calls = Array.from({ length: count }, () => client.call(caller.runtime.scope(20_000), 'echo', { body: { text: 'x'.repeat(1_000) } }))
  const ends = await Promise.allSettled(calls)
  expect(ends.filter(end => end.status === 'rejected' || end.value.status !== 200)).toEqual([])
  expect(await callee.runtime.metric('http_server_refused_bodies_total{limit="source"}')).toBe(0)
})

test('a caller whose messages are too large keeps its connection', async () => {
  const { port } = await start()
  const { ask, session } = openRpc(port)
  for (let i = 0; i < 120; i++) expect((await ask(ECHO, { body: Buffer.alloc(200_000) })).status).toBe(CODES.RESOURCE_EXHAUSTED)
  expect(await ask(ECHO, { body: HI })).toMatchObject({ status: CODES.OK })
  expect(session.closed).toBe(false)
})

test('a client of ours whose large messages are refused goes on', async () => {
  const { client, caller } = await start()
  for (let i = 0; i < 280; i++) {
    const answer = await client.call(caller.runtime.scope(20_000), 'echo', { body: { text: 'x'.repeat(200_000) } })
    expect(answer.status).toBe(413)
  }
  expect(await client.call(caller.runtime.scope(20_000), 'echo', { body: { text: 'x' } })).toMatchObject({ status: 200 })
})

test('a caller that resets 250 streams with 50 kB of answers that it has not read is answered on', async () => {
  const { port } = await start()
  const raw = openRawH2(port, { settings: Buffer.from([0, 4, 0, 0, 0, 0]) })
  const message = Buffer.concat([Buffer.from([0x0a, 0xd0, 0x86, 0x03]), Buffer.alloc(50_000, 0x78)])
  const body = frame(message)
  const part = (from: number, flags: number, id: number) => h2Frame(FRAME.DATA, flags, id, body.subarray(from, from + 16_000))
  for (let at = 0; at < 250; at++) {
    const id = idOf(at)
    raw.send(
      h2Frame(FRAME.HEADERS, FLAG.END_HEADERS, id, callHeaders(ECHO)),
      part(0, 0, id),
      part(16_000, 0, id),
      part(32_000, 0, id),
      part(48_000, FLAG.END_STREAM, id),
    )
    const answered = () => raw.frames.slice(-9).some(({ type, stream }) => type === FRAME.HEADERS && stream === id)
    await vi.waitUntil(answered, { timeout: 5_000, interval: 1 })
    raw.send(reset(id))
  }
  expect(raw.goaway()).toBeUndefined()
})

describe('whoever', () => {
  const listening = async (handler: never, options = {}) => {
    const server = await listenGrpc({ handler, port: 0, host: '127.0.0.1', ...testRuntime(), ...options })
    return { port: server.port, drain: () => server.drain({ lingerMs: 0, finishMs: 0 }) }
  }

  test('opens connections and no stream is let go', async () => {
    const { port, drain } = await listening((() => {}) as never, { firstStreamMs: 50 })
    const raw = openRawH2(port)
    const pinger = setInterval(() => raw.send(h2Frame(FRAME.PING, 0, 0, Buffer.alloc(8))), 10)
    await raw.closed.finally(() => clearInterval(pinger))
    await drain()
  })

  test('opens more connections than one source may have is refused them, and the others go on', async () => {
    const { port, drain } = await listening((() => {}) as never, { connections: { total: 10, perSource: 3 } })
    const held = Array.from({ length: 3 }, () => openRawH2(port))
    await vi.waitFor(() => expect(held.every(({ frames }) => frames.length > 0)).toBe(true))
    await openRawH2(port).closed
    expect(held.some(({ socket }) => socket.destroyed)).toBe(false)
    for (const { socket } of held) socket.destroy()
    await drain()
  })

  test('reads no answer, since its window is closed, loses that stream', async () => {
    const { port, drain } = await listening(((req: never, res: never) => {
      const ctx = { req, res, method: 'POST', get: () => 'application/grpc', state: { call: { reply: { code: 'OK', message: Buffer.alloc(100) } } } }
      return writeReply(50)(ctx as never, async () => {
        for await (const _ of req as AsyncIterable<Buffer>);
      })
    }) as never)
    const raw = openRawH2(port, { settings: Buffer.from([0, 4, 0, 0, 0, 0]) })
    raw.send(opening, h2Frame(FRAME.DATA, FLAG.END_STREAM, 1, HI))
    const ended = ({ type, stream }: { type: number; stream: number }) => type === FRAME.RST_STREAM && stream === 1
    await vi.waitFor(() => expect(raw.frames.find(ended)?.payload.readUInt32BE(0)).toBe(constants.NGHTTP2_CANCEL), { timeout: 5_000 })
    raw.socket.destroy()
    await drain()
  })

  test('sends a message byte by byte is answered CANCELLED in time', async () => {
    const { port } = await start(1_000)
    const raw = openRawH2(port)
    raw.send(opening)
    const trickle = setInterval(() => raw.send(h2Frame(FRAME.DATA, 0, 1, Buffer.from([0]))), 50)
    const answered = ({ type, stream }: { type: number; stream: number }) => type === FRAME.HEADERS && stream === 1
    await vi.waitFor(() => expect(raw.frames.some(answered)).toBe(true), { timeout: 10_000 }).finally(() => clearInterval(trickle))
  })

  test('has acknowledged no settings may send no larger head', async () => {
    const { port, calls } = await start()
    const raw = openRawH2(port)
    raw.send(
      h2Frame(FRAME.HEADERS, 0, 1, callHeaders(ECHO, [['x-a', 'a'.repeat(15_000)]])),
      h2Frame(FRAME.CONTINUATION, FLAG.END_HEADERS, 1, headerBlock([['x-b', 'b'.repeat(15_000)]])),
      h2Frame(FRAME.DATA, FLAG.END_STREAM, 1, HI),
    )
    const ended = ({ type, stream }: { type: number; stream: number }) => type === FRAME.RST_STREAM && stream === 1
    await vi.waitFor(() => expect(raw.frames.find(ended)?.payload.readUInt32BE(0)).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM))
    expect(calls.count).toBe(0)
  })
})
