import { EventEmitter, once } from 'node:events'
import { Agent, get as httpGet, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { boundConnections } from '../../../services/chassis/server/connections.ts'
import { type Check, createHealth } from '../../../services/chassis/server/health.ts'
import { drainOnSignal, type ServeOptions, serve } from '../../../services/chassis/server/serve.ts'
import { expectProblem, type Http, httpTo } from '../../support/http.ts'
import { openRaw, rawRequest } from '../../support/raw-http.ts'
import { type TestRuntime, testRuntime } from '../../support/runtime.ts'

const ok: RequestListener = (_req, res) => void res.end('ok\n')

async function start({ checks = {}, ...options }: Partial<ServeOptions> & { checks?: Record<string, Check> } = {}) {
  const runtime: TestRuntime = testRuntime()
  const running = await serve({
    ...runtime,
    handler: ok,
    host: '127.0.0.1',
    port: 0,
    adminPort: 0,
    health: createHealth(checks, 0),
    lingerMs: 0,
    finishMs: 5_000,
    ...options,
  })
  onTestFinished(() => running.drain())
  const admin: Http = httpTo(`http://127.0.0.1:${running.adminPort}`)
  return { ...running, runtime, http: httpTo(`http://127.0.0.1:${running.port}`), admin }
}

/** A request whose handler waits until it is let go. */
function gated() {
  const gate = Promise.withResolvers<void>()
  const arrived = Promise.withResolvers<void>()
  const handler: RequestListener = async (_req, res) => {
    arrived.resolve()
    await gate.promise
    res.end('done\n')
  }
  return { handler, arrived: arrived.promise, release: gate.resolve }
}

/** GET over a connection that the agent may keep. */
const getOver = (agent: Agent, port: number) =>
  new Promise<{ status: number | undefined; connection: string | undefined }>((resolve, reject) => {
    const request = httpGet({ agent, host: '127.0.0.1', port }, (response: IncomingMessage) => {
      response.resume().on('end', () => resolve({ status: response.statusCode, connection: response.headers.connection }))
    })
    request.on('error', reject)
  })

const keepAliveAgent = () => {
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  return agent
}

const refused = (port: number) =>
  new Promise<boolean>(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(false)
    })
    socket.on('error', () => resolve(true))
  })

describe('serve', () => {
  test('listens on both ports, says which, and keeps them apart', async () => {
    const { port, adminPort, http, admin, runtime } = await start()
    expect(runtime.lines).toContainEqual(expect.objectContaining({ msg: 'listening', port, adminPort }))
    expect((await http('GET', '/readyz')).body).toBe('ok\n')
    expect((await admin('GET', '/livez')).status).toBe(200)
    expect((await admin('GET', '/bookings')).status).toBe(404)
  })

  test('rejects when a port is taken', async () => {
    const { port } = await start()
    await expect(start({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await expect(start({ adminPort: port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  test('readyz follows the checks', async () => {
    let up = true
    const { admin } = await start({ checks: { database: () => (up ? Promise.resolve() : Promise.reject(new Error('down'))) } })
    expect((await admin('GET', '/readyz')).status).toBe(200)
    up = false
    await vi.waitFor(async () => {
      const reply = await admin('GET', '/readyz')
      expect({ status: reply.status, body: reply.body }).toEqual({ status: 503, body: { failing: ['database'] } })
    })
  })

  test('keeps idle connections longer than Traefik does, 90 s, and says so', async () => {
    const { port } = await start()
    const { socket, reply } = openRaw(port)
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    await vi.waitFor(() => expect(socket.bytesRead).toBeGreaterThan(0))
    socket.end()
    const timeoutSeconds = Number(/timeout=(\d+)/.exec((await reply).headers.get('keep-alive') ?? '')?.[1])
    expect(timeoutSeconds).toBeGreaterThanOrEqual(95)
  })
})

describe('what is not HTTP', () => {
  test.each([
    ['a malformed request line', 'HELLO\r\n\r\n'],
    ['an unknown method', 'BREW /pot HTTP/1.1\r\nhost: a\r\n\r\n'],
    ['a header without a colon', 'GET / HTTP/1.1\r\nhost: a\r\nbroken\r\n\r\n'],
    ['a TLS handshake', '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03'],
    ['two lengths', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    ['a length and chunks', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'GET / HTTP/1.1\r\nhost : a\r\n\r\n'],
  ])('%s is 400 and the end of the connection', async (_name, text) => {
    const { port } = await start()
    const { socket, reply } = openRaw(port)
    socket.write(text, 'latin1')
    expectProblem(await reply, 400, 'malformed-request')
    expect((await reply).body.detail).toBe('This is not valid HTTP')
    expect((await reply).headers.get('connection')).toBe('close')
  })

  test('headers larger than 16 KiB are 431', async () => {
    const { port, http } = await start()
    expectProblem(await rawRequest(port, 'GET /', [`x-flood: ${'a'.repeat(16_500)}`]), 431, 'headers-too-large')
    expectProblem(
      await rawRequest(
        port,
        'GET /',
        Array.from({ length: 900 }, (_, n) => `x-${n}: aaaaaaaaaaaaaa`),
      ),
      431,
      'headers-too-large',
    )
    expectProblem(await rawRequest(port, `GET /${'a'.repeat(16_500)}`), 431, 'headers-too-large')
    expect((await http('GET', '/', { headers: { 'x-large': 'a'.repeat(12_000) } })).status).toBe(200)
  })

  test('a head that does not arrive in time is 408', async () => {
    const { port } = await start({ headersTimeoutMs: 100 })
    const { socket, reply } = openRaw(port)
    socket.write('GET / HTTP/1.1\r\nhost: a\r\nx-slow: ')
    const trickle = setInterval(() => socket.write('a'), 20)
    expectProblem(await reply.finally(() => clearInterval(trickle)), 408, 'request-timeout')
  })

  test('a connection whose client does not close it is closed all the same', async () => {
    const { port, drain } = await start({ finishMs: 600_000 })
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    socket.write('HELLO\r\n\r\n')
    socket.resume()
    await new Promise(resolve => socket.on('end', resolve))
    await drain()
  })

  test('a client that goes away in the middle of its head leaves nothing behind', async () => {
    const { port, http } = await start()
    const { socket } = openRaw(port)
    socket.write('GET / HTTP/1.1\r\nhost', () => socket.resetAndDestroy())
    expect((await http('GET', '/')).status).toBe(200)
  })

  test('after an answer that has begun is not answered into it', async () => {
    const { port } = await start({
      handler: (_req, res) => {
        res.writeHead(200, { 'content-length': 10 })
        res.write('hello')
      },
    })
    const { socket, reply } = openRaw(port)
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    await vi.waitFor(() => expect(socket.bytesRead).toBeGreaterThan(0))
    socket.write('HELLO\r\n\r\n')
    expect((await reply).body).toBe('hello')
  })
})

describe('running.drain', () => {
  test('turns readyz red at once, and still takes new connections while it lingers, closing each', async () => {
    const { drain, http, admin, port } = await start({ lingerMs: 300 })
    const before = await getOver(keepAliveAgent(), port)
    expect(before).toEqual({ status: 200, connection: 'keep-alive' })
    const drained = drain()
    const ready = await admin('GET', '/readyz')
    expect({ status: ready.status, body: ready.body }).toEqual({ status: 503, body: { failing: ['draining'] } })
    expect((await admin('GET', '/livez')).status).toBe(200)
    const reply = await http('GET', '/')
    expect({ status: reply.status, connection: reply.headers.get('connection') }).toEqual({ status: 200, connection: 'close' })
    await drained
    expect(await refused(port)).toBe(true)
  })

  test('lets requests in flight finish', async () => {
    const { handler, arrived, release } = gated()
    const { drain, http, port, admin } = await start({ handler })
    const reply = http('GET', '/')
    await arrived
    const drained = drain()
    await vi.waitFor(async () => expect(await refused(port)).toBe(true))
    expect((await admin('GET', '/readyz')).status).toBe(503)
    setTimeout(release, 500)
    expect({ status: (await reply).status, body: (await reply).body }).toEqual({ status: 200, body: 'done\n' })
    await drained
  })

  test('does not wait for connections that are idle, whether a request was in flight on them or not', async () => {
    const { handler, arrived, release } = gated()
    let first = true
    const { drain, port } = await start({
      handler: (req, res) => {
        if (first) ok(req, res)
        else handler(req, res)
        first = false
      },
      finishMs: 600_000,
    })
    const [idle, busy] = [keepAliveAgent(), keepAliveAgent()]
    await getOver(idle, port)
    const reply = getOver(busy, port)
    await arrived
    const drained = drain()
    await vi.waitFor(async () => expect(await refused(port)).toBe(true))
    release()
    expect((await reply).status).toBe(200)
    await drained
  })

  test('cuts what takes longer than finishMs', async () => {
    const { handler, arrived, release } = gated()
    onTestFinished(() => release())
    const { drain, http } = await start({ handler, finishMs: 50 })
    const reply = expect(http('GET', '/')).rejects.toThrow()
    await arrived
    await drain()
    await reply
  })

  test('closes in order when the last request is done, whatever a closer does', async () => {
    const { handler, arrived, release } = gated()
    const order: string[] = []
    const closer = (name: string) => async () => {
      order.push(`${name} begins`)
      await new Promise(resolve => setImmediate(resolve))
      order.push(`${name} ends`)
    }
    const { drain, http, runtime, port } = await start({
      handler,
      closers: [closer('relay'), () => Promise.reject(new Error('stuck')), closer('pool')],
    })
    const reply = http('GET', '/')
    await arrived
    const drained = drain()
    await vi.waitFor(async () => expect(await refused(port)).toBe(true))
    expect(order).toEqual([])
    release()
    await Promise.all([reply, drained])
    expect(order).toEqual(['relay begins', 'relay ends', 'pool begins', 'pool ends'])
    expect(runtime.lines.filter(line => line.level === 'warn')).toEqual([
      expect.objectContaining({ msg: 'a resource did not close', err: expect.objectContaining({ message: 'stuck' }) }),
    ])
    expect(runtime.lines.at(-1)).toMatchObject({ msg: 'drained' })
  })

  test('closes the admin port last', async () => {
    const gate = Promise.withResolvers<void>()
    const { drain, admin, adminPort } = await start({ closers: [() => gate.promise] })
    const drained = drain()
    expect((await admin('GET', '/livez')).status).toBe(200)
    gate.resolve()
    await drained
    expect(await refused(adminPort)).toBe(true)
  })

  test('is idempotent', async () => {
    const close = vi.fn(async () => {})
    const { drain } = await start({ closers: [close] })
    await Promise.all([drain(), drain()])
    await drain()
    expect(close).toHaveBeenCalledOnce()
  })
})

describe('drainOnSignal', () => {
  const listen = (drain: () => Promise<void>) => {
    const handlers = new Map<string, () => void>()
    const on = vi.spyOn(process, 'on').mockImplementation((signal, handler) => {
      handlers.set(String(signal), handler as () => void)
      return process
    })
    onTestFinished(() => on.mockRestore())
    const exit = vi.fn<(code: number) => never>()
    drainOnSignal({ port: 0, adminPort: 0, drain }, exit)
    return { exit, signal: (name: string) => handlers.get(name)?.() }
  }

  test.each(['SIGTERM', 'SIGINT'])('%s drains and exits 0', async name => {
    const gate = Promise.withResolvers<void>()
    const drain = vi.fn(() => gate.promise)
    const { exit, signal } = listen(drain)
    signal(name)
    expect(drain).toHaveBeenCalledOnce()
    expect(exit).not.toHaveBeenCalled()
    gate.resolve()
    await vi.waitFor(() => expect(exit.mock.calls).toEqual([[0]]))
  })

  test('a second signal exits at once with 1', () => {
    const { exit, signal } = listen(() => new Promise(() => {}))
    signal('SIGTERM')
    signal('SIGINT')
    expect(exit.mock.calls).toEqual([[1]])
  })
})

describe('connections', () => {
  test('with more than 16 requests that wait for an answer are closed', async () => {
    const handled = vi.fn()
    const { port } = await start({ handler: handled })
    const { socket, reply } = openRaw(port)
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(1_000))
    await reply
    expect(handled).toHaveBeenCalledTimes(16)
  })

  test('may send any number of requests one after the other', async () => {
    const { port } = await start()
    const { socket, reply } = openRaw(port)
    for (let i = 0; i < 40; i++) {
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
      await once(socket, 'data')
    }
    socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    expect((await reply).status).toBe(200)
  })

  test('whose client does not read the answer are closed', async () => {
    const closed = Promise.withResolvers<void>()
    const { port } = await start({
      silenceMs: 200,
      handler: (_req, res) => {
        res.once('close', closed.resolve)
        res.end(Buffer.alloc(16 << 20))
      },
    })
    const { socket } = openRaw(port)
    socket.pause()
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    await closed.promise
    socket.destroy()
  })

  test('of two addresses of one IPv6 network are of one source', async () => {
    const server = new EventEmitter()
    const runtime = testRuntime()
    boundConnections(server as Server, { total: 3, perSource: 1 }, runtime.metrics)
    const arrive = (remoteAddress: string) => {
      const socket = Object.assign(new EventEmitter(), { remoteAddress, destroy: vi.fn() })
      server.emit('connection', socket)
      return socket.destroy.mock.calls.length === 0 ? 'taken' : 'closed'
    }
    expect(['2001:db8::1', '2001:db8::2', '2001:db8:0:1::1'].map(arrive)).toEqual(['taken', 'closed', 'taken'])
  })

  /** Opens one and waits for what becomes of it: closed by the server, or still open after it answered. */
  const open = async (port: number, localAddress: string) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    const outcome = await Promise.race([
      new Promise<string>(resolve => socket.once('data', () => resolve('answered'))),
      new Promise<string>(resolve => socket.once('close', () => resolve('closed'))),
    ])
    return { outcome, socket }
  }

  test('of one source are bounded below those of all, and each that ends makes room', async () => {
    const { port, runtime } = await start({ connections: { total: 3, perSource: 2 } })
    const first = await open(port, '127.0.0.2')
    expect([first.outcome, (await open(port, '127.0.0.2')).outcome]).toEqual(['answered', 'answered'])
    expect((await open(port, '127.0.0.2')).outcome).toBe('closed')
    expect((await open(port, '127.0.0.3')).outcome).toBe('answered')
    expect((await open(port, '127.0.0.4')).outcome).toBe('closed')
    expect(await runtime.metric('http_server_dropped_connections_total{limit="source"}')).toBe(1)
    expect(await runtime.metric('http_server_dropped_connections_total{limit="total"}')).toBe(1)
    first.socket.destroy()
    await vi.waitFor(async () => expect((await open(port, '127.0.0.2')).outcome).toBe('answered'))
  })
})
