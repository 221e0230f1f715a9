import { createServer, get, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { listenWidely } from '../../../services/chassis/server/listeners.ts'

const place = { host: '127.0.0.1', port: 0, backlog: 511 }
const ask = (server: Server) =>
  new Promise<number | undefined>((resolve, reject) => {
    get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, agent: false }, answer => {
      answer.resume()
      resolve(answer.statusCode)
    }).on('error', reject)
  })

describe('listening with several sockets', () => {
  test('hands every connection to the one server, whichever socket took it', async () => {
    const server = createServer((_req, res) => res.end())
    const took = vi.fn()
    server.on('connection', took)
    const stop = await listenWidely(server, place)
    expect(await Promise.all(Array.from({ length: 64 }, () => ask(server)))).toEqual(Array.from({ length: 64 }, () => 200))
    expect(took).toHaveBeenCalledTimes(64)
    await stop()
  })

  test('lets many in while turns of the event loop are long', async () => {
    const server = createServer()
    let taken = 0
    server.on('connection', () => taken++)
    const stop = await listenWidely(server, place)
    const clients: Socket[] = []
    const { port } = server.address() as AddressInfo
    for (let n = 0; n < 320; n++) clients.push(connect(port, '127.0.0.1').on('error', () => {}))
    let turns = 0
    while (taken < 320) {
      const until = performance.now() + 5
      while (performance.now() < until);
      await new Promise(resolve => setImmediate(resolve))
      if (++turns > 500) break
    }
    for (const client of clients) client.destroy()
    await stop()
    // One a turn would take 320, and eight 40.
    expect(turns).toBeLessThan(35)
  })

  test('ends with all of them, once their connections are closed', async () => {
    const server = createServer((_req, res) => res.end())
    const stop = await listenWidely(server, place)
    const { port } = server.address() as AddressInfo
    const clients = await Promise.all(
      Array.from(
        { length: 32 },
        () =>
          new Promise<Socket>(
            resolve =>
              void connect(port, '127.0.0.1', function (this: Socket) {
                resolve(this)
              }),
          ),
      ),
    )
    const stopped = vi.fn()
    const done = stop().then(stopped)
    await expect(ask(server).catch(error => error.code)).resolves.not.toBe(200)
    expect(stopped).not.toHaveBeenCalled()
    for (const client of clients) client.destroy()
    await done
  })

  test('a port that is taken is told', async () => {
    const other = createServer()
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void other.close())
    await expect(listenWidely(createServer(), { ...place, port: (other.address() as AddressInfo).port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    })
  })

  test('a port that others share is told as well', async () => {
    const other = createServer()
    const stop = await listenWidely(other, place)
    onTestFinished(stop)
    await expect(listenWidely(createServer(), { ...place, port: (other.address() as AddressInfo).port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    })
  })

  test('is done with one where the system has no shared ports', async () => {
    const server = createServer((_req, res) => res.end())
    const { listen } = server
    server.listen = function (this: Server, ...args: unknown[]) {
      if ((args[0] as { reusePort?: boolean }).reusePort) {
        queueMicrotask(() => server.emit('error', Object.assign(new Error('no'), { code: 'ENOTSUP' })))
        return this
      }
      return listen.apply(this, args as never)
    } as never
    const stop = await listenWidely(server, place)
    expect(await ask(server)).toBe(200)
    await stop()
  })
})
