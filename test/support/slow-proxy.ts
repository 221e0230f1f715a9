import { setTimeout as pause } from 'node:timers/promises'
import { startGrpcProxy } from './grpc-proxy.ts'

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

/** A proxy before a callee that delays or refuses, for a caller in another process. @param puts methods of gRPC that are PUT by HTTP */
export async function startSlowProxy(target: { host: string; name: string; puts: readonly string[] }): Promise<SlowProxy> {
  let delayMs = 0
  let nth = 0
  let puts = 0
  let requests = 0
  const proxy = await startGrpcProxy(target.host, target.name, async call => {
    requests++
    if (delayMs > 0) await pause(delayMs)
    if (target.puts.includes(call.method) && ++puts && nth > 0 && puts % nth === 0) return call.refuse(503, 'unavailable')
    const answer = await call.forward()
    answer()
  })
  return {
    host: proxy.host,
    requests: () => requests,
    delay: ms => {
      delayMs = ms
    },
    failEvery: n => {
      nth = n
    },
    close: proxy.close,
  }
}
