import { createServer, type Server } from 'node:net'

/**
 * Sockets that listen at one port. From each of them Node.js takes one connection a turn of its event loop, and a turn is long while there is much to do:
 * from one alone, a thousand clients that come at once wait for seconds to be let in, and what they ask for is not even read meanwhile.
 */
const LISTENERS = 64
/** How many times its even share of those who wait a socket has room for: the system spreads them by chance. */
const UNEVEN = 8

export interface ListenAt {
  port: number
  host?: string | undefined
  /** Connections that may wait to be taken. */
  backlog: number
}

/**
 * Listens for `server` with several sockets, where the system lets them share a port, or else with one.
 * @returns what stops listening, and resolves when the connections are closed
 */
export async function listenWidely(server: Server, place: ListenAt): Promise<() => Promise<void>> {
  const port = await freePort(place)
  const each = { ...place, port, backlog: Math.ceil((place.backlog * UNEVEN) / LISTENERS), reusePort: true }
  const isShared = await listen(server, each).then(
    () => true,
    error => {
      if (error.code !== 'ENOTSUP' && error.code !== 'EINVAL') throw error
      return false
    },
  )
  if (!isShared) await listen(server, { ...place, port })
  const servers = [server]
  while (isShared && servers.length < LISTENERS) {
    // With the options that node:http gives its own.
    const other = createServer({ allowHalfOpen: true, noDelay: true }, socket => server.emit('connection', socket))
    await listen(other, each)
    servers.push(other)
  }
  return async () => void (await Promise.all(servers.map(one => new Promise(resolve => one.close(resolve)))))
}

/** The port, once nobody else listens there: a port that is shared is shared with any process of the same user. */
async function freePort(place: ListenAt): Promise<number> {
  const probe = createServer()
  await listen(probe, place)
  const { port } = probe.address() as { port: number }
  await new Promise(resolve => probe.close(resolve))
  return port
}

const listen = (server: Server, options: ListenAt & { reusePort?: boolean }) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options, () => {
      server.off('error', reject)
      resolve()
    })
  })
