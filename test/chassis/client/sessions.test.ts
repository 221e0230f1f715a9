import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { Target } from '../../../services/chassis/client/addresses.ts'
import { createSessions, NeverProcessed } from '../../../services/chassis/client/sessions.ts'

/** A callee that does something else than to answer. */
async function start(act: (stream: ServerHttp2Stream, session: ServerHttp2Session) => void) {
  const server = createServer()
  server.on('stream', stream => {
    stream.on('error', () => {})
    act(stream, stream.session as ServerHttp2Session)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const target: Target = { host: '127.0.0.1', port, priority: 0, weight: 1, authority: `127.0.0.1:${port}` }
  const sessions = createSessions('callee:1', () => {})
  onTestFinished(async () => {
    await sessions.close()
    server.close()
  })
  return (signal = AbortSignal.timeout(5_000)) => sessions.exchange(target, { ':path': '/a' }, Buffer.alloc(5), signal).catch((error: Error) => error)
}

test.each([
  ['REFUSED_STREAM', constants.NGHTTP2_REFUSED_STREAM],
  ['ENHANCE_YOUR_CALM', constants.NGHTTP2_ENHANCE_YOUR_CALM],
])('a stream that is refused with %s was never begun', async (_, code) => {
  const ask = await start(stream => stream.close(code))
  expect(await ask()).toBeInstanceOf(NeverProcessed)
})

test('a call that was begun may have been done, whatever code its connection ends with', async () => {
  const ask = await start((_, session) => session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM))
  const error = await ask()
  expect(error).toBeInstanceOf(Error)
  expect(error).not.toBeInstanceOf(NeverProcessed)
})

test('a call whose time is over is not sent', async () => {
  let came = 0
  const ask = await start(stream => {
    came++
    stream.respond({}, { endStream: true })
  })
  await ask()
  expect(await ask(AbortSignal.abort(new Error('over')))).toMatchObject({ message: 'over' })
  expect(came).toBe(1)
})
