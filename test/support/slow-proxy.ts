import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'

export interface SlowProxy {
  host: string
  /** Requests that came, whatever became of them. */
  requests(): number
  /** Milliseconds before an answer. */
  delay(ms: number): void
  /** Every nth PUT is answered 503 `unavailable` instead; 0 for none. */
  failEvery(n: number): void
  close(): Promise<void>
}

/** A proxy before the user service that delays or refuses, for a service in another process. */
export async function startSlowProxy(target: string): Promise<SlowProxy> {
  let delayMs = 0
  let nth = 0
  let puts = 0
  let requests = 0
  const server = createServer(async (req, res) => {
    try {
      requests++
      const body = await buffer(req)
      if (delayMs > 0) await pause(delayMs)
      if (req.method === 'PUT' && ++puts && nth > 0 && puts % nth === 0) {
        res.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '1' })
        res.end(
          JSON.stringify({ type: 'urn:problem:unavailable', title: 'Unavailable', status: 503, detail: 'as the test asks', code: 'unavailable' }),
        )
        return
      }
      const { authorization, 'content-type': type } = req.headers
      const answer = await fetch(target + req.url, {
        method: req.method as string,
        headers: { ...(authorization && { authorization }), ...(type && { 'content-type': type }) },
        ...(body.length > 0 && { body }),
      })
      res
        .writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' })
        .end(Buffer.from(await answer.arrayBuffer()))
    } catch {
      res.destroy()
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    delay: ms => {
      delayMs = ms
    },
    failEvery: n => {
      nth = n
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
