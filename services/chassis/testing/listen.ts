import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type Koa from 'koa'
import { listenGrpc } from '../server/grpc/listen.ts'
import type { Runtime } from '../telemetry/runtime.ts'

export interface Listening {
  /** `host:port` */
  host: string
  close(): Promise<void>
}

/** A Koa app on a free port of this machine alone. */
export async function listen(app: Koa): Promise<Listening> {
  const server = createServer(app.callback())
  const { promise: listens, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(0, '127.0.0.1', resolve)
  await listens
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = new Promise(done => server.close(done))
      server.closeAllConnections()
      await closed
    },
  }
}

/** The same by gRPC. */
export async function listenRpc(app: Koa, runtime: Runtime): Promise<Listening> {
  const server = await listenGrpc({ handler: app.callback(), port: 0, host: '127.0.0.1', ...runtime })
  return { host: `127.0.0.1:${server.port}`, close: () => server.drain({ lingerMs: 0, finishMs: 0 }) }
}
