import { setTimeout as sleep } from 'node:timers/promises'
import { say } from '../../scripts/terminal.ts'
import type { Answered } from './arrivals.ts'
import { type Bench, startOrder, startPeer, startUser, withServers } from './bench.ts'
import type { Posted } from './load.ts'
import { ordersOf } from './orders.ts'
import { OVERLOAD_PEERS, PRODUCT } from './peers.ts'
import type { Server } from './processes.ts'
import type { OverloadMeasured, OverloadPoint } from './report.ts'

const MAX_CONNECTIONS = 3_000
/** Shares of what a closed loop brings; the best of these is the peak. */
const BELOW = [0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2]
/** Times the peak. */
const BEYOND = [1.6, 5]

/** Goodput over offered load, in an open loop. */
export async function measureOverload(bench: Bench): Promise<void> {
  const rows: OverloadMeasured[] = []
  bench.results.overload = rows
  const peers = OVERLOAD_PEERS.map(
    ({ name, args }) =>
      () =>
        startPeer(bench, { name, args, env: { DATABASE_URL: bench.postgres.url('order') } }),
  )
  const { compared } = bench
  const versions = [bench.ours, ...(compared ? [compared] : [])]
  for (const start of [...versions.map(version => () => startOrder(bench, { version })), ...peers]) {
    await withServers([start], async ([server]) => void rows.push(await sweep(bench, server as Server, 'GET /products/{sku}')))
  }
  for (const version of versions) {
    await withServers([() => startUser(bench, version), () => startOrder(bench, { version })], async ([users, orders]) => {
      const origin = (name: string) => ((name === 'user' ? users : orders) as Server).url
      const posted = await ordersOf({ origin, signal: bench.signal })
      rows.push(await sweep(bench, orders as Server, 'POST /orders', posted))
    })
  }
}

async function sweep(bench: Bench, server: Server, what: string, posted?: Posted): Promise<OverloadMeasured> {
  const { options, generator } = bench
  const target = { url: server.url + (posted ? '' : PRODUCT), ...(posted && { posted }) }
  say(`${server.name}, ${what}: what it can, closed loop`)
  for (let n = 0; n < 2; n++) await generator.run({ ...target, seconds: 2 * options.seconds, connections: 64 })
  const { perSecond: closed } = await generator.run({ ...target, seconds: 2 * options.seconds, connections: 64 })
  const points: OverloadPoint[] = []
  const offer = async (perSecond: number, seconds: number) => {
    bench.signal.throwIfAborted()
    say(`${server.name}, ${what}: ${Math.round(perSecond)} a second for ${seconds} s`)
    const watch = watchLiveness(server)
    const answered = await generator.arrive({ ...target, arrivalsPerSecond: perSecond, seconds, maxConnections: MAX_CONNECTIONS })
    const point = pointOf(answered, perSecond, seconds, await watch())
    points.push(point)
    // What stands in queues is gone by then.
    await sleep(Math.min(1_000, 1_000 * options.seconds), undefined, { signal: bench.signal })
    return point
  }
  for (const share of BELOW) await offer(share * closed, 2 * options.seconds)
  const peak = Math.max(...points.map(({ goodPerSecond }) => goodPerSecond))
  const beyond: OverloadMeasured['beyond'] = {}
  for (const times of BEYOND) beyond[times] = (await offer(times * peak, 4 * options.seconds)).goodPerSecond / peak
  return { name: server.name, what, closedPerSecond: closed, peak, beyond, points }
}

function pointOf({ goodPerSecond, statuses, unsent, unanswered, p99Ms }: Answered, offered: number, seconds: number, liveMs: number): OverloadPoint {
  const refused = Object.entries(statuses).reduce((sum, [status, count]) => sum + (status.startsWith('2') ? 0 : count), 0)
  return { offered, goodPerSecond, refusedPerSecond: refused / seconds, failedPerSecond: (unsent + unanswered) / seconds, p99Ms, liveMs }
}

/** Asks for /livez again and again. @returns what ends it: the longest answer in milliseconds, NaN where there is no such path */
function watchLiveness({ readyUrl }: Server): () => Promise<number> {
  let over = false
  let longestMs = Number.NaN
  const watched = (async () => {
    while (readyUrl.endsWith('/readyz') && !over) {
      const askedAt = performance.now()
      const answer = await fetch(readyUrl.replace(/readyz$/, 'livez'), { signal: AbortSignal.timeout(5_000) }).catch(() => undefined)
      const ms = answer?.ok ? performance.now() - askedAt : Number.POSITIVE_INFINITY
      longestMs = Number.isNaN(longestMs) ? ms : Math.max(longestMs, ms)
      await sleep(100)
    }
  })()
  return async () => {
    over = true
    await watched
    return longestMs
  }
}
