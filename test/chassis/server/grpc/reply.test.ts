import { once } from 'node:events'
import { type ClientHttp2Stream, connect, createServer, type Http2ServerRequest, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { expect, onTestFinished, test, vi } from 'vitest'
import { callOf } from '../../../../services/chassis/server/grpc/call.ts'
import { writeReply } from '../../../../services/chassis/server/grpc/reply.ts'

/** A server that reads the first bytes of a message, and the streams that it still keeps. */
async function start(readMs?: number) {
  const app = new Koa()
  app.use(writeReply(readMs))
  app.use(async ctx => {
    await once(ctx.req, 'data')
    ctx.req.pause()
    if (ctx.path === '/begun') (ctx.res as unknown as { writeHead(status: number): void }).writeHead(200)
    callOf(ctx).reply = { code: 'RESOURCE_EXHAUSTED' }
  })
  const kept = new Set<ServerHttp2Stream>()
  const handler = app.callback()
  const server = createServer((req: Http2ServerRequest, res) => void handler(req as never, res as never))
  server.on('stream', stream => {
    kept.add(stream)
    stream.once('close', () => kept.delete(stream))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  onTestFinished(() => {
    session.destroy()
    server.close()
  })
  return { kept, session }
}

const ended = (stream: ClientHttp2Stream) =>
  new Promise<Record<string, unknown>>(resolve => {
    const answer: Record<string, unknown> = {}
    stream.on('response', headers => Object.assign(answer, headers))
    stream.on('trailers', trailers => Object.assign(answer, trailers))
    stream.on('error', () => {})
    stream.on('close', () => resolve(answer))
    stream.resume()
  })

const GRPC = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' }

test.each([
  ['answered at once', { ...GRPC, ':path': '/whole' }, { ':status': 200, 'grpc-status': '8' }],
  ['answered whose answer had begun', { ...GRPC, ':path': '/begun' }, { ':status': 200, 'grpc-status': '8' }],
  ['no gRPC', { ...GRPC, ':path': '/other', 'content-type': 'text/plain' }, { ':status': 415 }],
])('a stream that is %s is not kept for the message that nobody reads', async (_, headers, answer) => {
  const { kept, session } = await start()
  for (let n = 0; n < 5; n++) {
    const stream = session.request(headers)
    stream.write(Buffer.alloc(50_000))
    expect(await ended(stream)).toMatchObject(answer)
  }
  await vi.waitFor(() => expect(kept.size).toBe(0))
})

test('a caller that does not read its answer keeps its stream for no longer than it has time', async () => {
  const { kept, session } = await start(50)
  session.settings({ initialWindowSize: 0 })
  const stream = session.request({ ...GRPC, ':path': '/begun' })
  stream.on('error', () => {})
  stream.write(Buffer.alloc(50_000))
  await vi.waitFor(() => expect(kept.size).toBe(1))
  await vi.waitFor(() => expect(kept.size).toBe(0))
})
