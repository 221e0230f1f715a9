import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { unframe } from '../../../services/chassis/grpc/frame.ts'
import { rpcOf } from '../../../services/chassis/grpc/operations.ts'
import { user } from '../../../services/user/service.ts'
import { type ProxiedCall, startGrpcProxy } from '../../support/grpc-proxy.ts'

/**
 * What becomes of a call to `/reservations`: `pass` forwards it, `hang` never answers, `drop` forwards it and loses the answer, a
 * problem is answered instead of the user service. Keys always pass.
 */
export type Behaviour = 'pass' | 'hang' | 'drop' | { status: number; code: string }

export interface Held {
  /** Resolves when the call is here. */
  arrived: Promise<void>
  /** Lets it go on. */
  release(): void
}

export interface UserProxy {
  /** For HTTP, and for gRPC. */
  host: string
  grpcHost: string
  /** Calls to `/reservations` so far, e.g. `PUT 0193...`. */
  calls: string[]
  behave(behaviour: Behaviour): void
  /** Stops the next call of a method, before it reaches the user service or before its answer goes back. */
  hold(method: 'PUT' | 'DELETE', place: 'request' | 'answer'): Held
  /** Refuses connections until `up`. */
  down(): Promise<void>
  up(): Promise<void>
  close(): Promise<void>
}

interface Hold extends Held {
  method: string
  place: 'request' | 'answer'
  arrive(): void
  released: Promise<void>
}

/** Stands between order and user and spoils the calls between them as a test asks, by either protocol. */
export async function startUserProxy(userUrl: string, userGrpcHost: string): Promise<UserProxy> {
  const calls: string[] = []
  let holds: Hold[] = []
  let behaviour: Behaviour = 'pass'

  const take = (method: string | undefined, place: Hold['place']) => {
    const found = holds.find(hold => hold.method === method && hold.place === place)
    holds = holds.filter(hold => hold !== found)
    return found
  }
  const pause = async (hold: Hold | undefined) => {
    hold?.arrive()
    await hold?.released
  }

  const forward = async (req: IncomingMessage, body: string) => {
    const { authorization = '', 'content-type': type } = req.headers
    return fetch(userUrl + req.url, {
      method: req.method as string,
      headers: { authorization, ...(type && { 'content-type': type }) },
      ...(body !== '' && { body }),
    })
  }

  const handle = async (req: IncomingMessage, res: ServerResponse) => {
    const body = await text(req)
    const ours = req.url?.startsWith('/reservations/')
    if (ours) calls.push(`${req.method} ${req.url?.split('/').at(-1)}`)
    const how = ours ? behaviour : 'pass'
    if (how === 'hang') return
    if (typeof how === 'object') {
      res.writeHead(how.status, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ ...how, detail: 'As the test asks' }))
      return
    }
    const held = take(req.method, 'answer')
    await pause(take(req.method, 'request'))
    const answer = await forward(req, body)
    const answered = await answer.text()
    await pause(held)
    if (how === 'drop') res.destroy()
    else res.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(answered)
  }

  const grpc = await startGrpcProxy(userGrpcHost, user.name, async call => {
    const method = METHODS[call.method]
    if (method) calls.push(`${method} ${orderIdIn(call)}`)
    const how = method ? behaviour : 'pass'
    if (how === 'hang') return
    if (typeof how === 'object') return call.refuse(how.status, how.code)
    const held = take(method, 'answer')
    await pause(take(method, 'request'))
    const answer = await call.forward()
    await pause(held)
    if (how === 'drop') call.lose()
    else answer()
  })

  const server = createServer((req, res) => void handle(req, res).catch(() => res.destroy()))
  const listen = (port: number) => new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  const stop = async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
  await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    host: `127.0.0.1:${port}`,
    grpcHost: grpc.host,
    calls,
    behave: next => {
      behaviour = next
    },
    hold: (method, place) => {
      const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>()
      const { promise: released, resolve: release } = Promise.withResolvers<void>()
      holds.push({ method, place, arrived, arrive, released, release })
      return { arrived, release }
    },
    down: async () => void (await Promise.all([stop(), grpc.down()])),
    up: async () => void (await Promise.all([listen(port), grpc.up()])),
    close: async () => void (await Promise.all([stop(), grpc.close()])),
  }
}

/** The methods of HTTP for those of gRPC. */
const METHODS: Record<string, string> = { ReserveCredit: 'PUT', ReleaseCredit: 'DELETE' }

function orderIdIn({ method, message }: ProxiedCall): string {
  const found = rpcOf(user).methods.find(({ name }) => name.endsWith(`/${method}`))
  const framed = unframe(message)
  if (!found || 'problem' in framed) throw new Error(`no message of ${method}`)
  return (found.readRequest(framed.message).parts.params as { orderId: string }).orderId
}
