import { type Bench, roundOptions, startOrder, startPeer, withServers } from './bench.ts'
import { PEERS, PRODUCT } from './peers.ts'
import type { Server } from './processes.ts'
import { BARE, OURS, type Results } from './report.ts'
import { measureInRounds } from './rounds.ts'
import { median, medianRatio } from './statistics.ts'

/** Connections that ask at once. */
const CONNECTIONS = [16, 1, 64]
/** A second process of the same program: what differs between the two is noise. */
const TWIN = ', its twin'

const peer =
  (bench: Bench, { name, args }: (typeof PEERS)[number], as = '') =>
  () =>
    startPeer(bench, { name: name + as, args, env: { DATABASE_URL: bench.postgres.url('order') } })

/** One product asked for again and again, beside bare Koa with a twin, and at 16 connections beside all others. */
export async function measureProducts(bench: Bench): Promise<void> {
  const [bare, ...others] = PEERS
  const { compared } = bench
  const own = [
    () => startOrder(bench),
    () => startOrder(bench, { name: OURS + TWIN }),
    ...(compared ? [() => startOrder(bench, { version: compared })] : []),
  ]
  await withServers([peer(bench, bare), peer(bench, bare, TWIN), ...own, ...others.map(one => peer(bench, one))], async servers => {
    const few = servers.slice(0, 2 + own.length)
    bench.results.products = {}
    for (const connections of CONNECTIONS) {
      const measured = await measureInRounds(connections === CONNECTIONS[0] ? servers : few, roundOptions(bench, connections))
      bench.results.products[connections] = measured
      const idle = measured.find(({ name, busy }) => connections > 1 && name !== BARE && busy < 0.85)
      if (idle)
        bench.results.notes.push(
          `${idle.name} had only ${Math.round(idle.busy * 100)} % of its core at ${connections} connections: something else runs here, or the load generator was the limit`,
        )
    }
    bench.results.openLoop = await measureOpenLoop(bench, few)
  })
}

/** At 70 % of what bare Koa can, each request when it is due. */
async function measureOpenLoop({ options, generator, results, signal }: Bench, servers: readonly Server[]): Promise<Results['openLoop']> {
  const most = results.products?.[64]?.[0]?.perSecond as number
  const arrivalsPerSecond = Math.round(0.7 * most)
  const p99 = servers.map(() => [] as number[])
  for (let round = 0; round <= options.rounds; round++) {
    for (const [i, { url }] of servers.entries()) {
      signal.throwIfAborted()
      const { p99Ms } = await generator.arrive({ url: url + PRODUCT, arrivalsPerSecond, seconds: options.seconds, maxConnections: 64 })
      if (round > 0) p99[i]?.push(p99Ms)
    }
  }
  const bare = p99[0] as number[]
  const rows = servers.map(({ name }, i) => ({ name, p99Ms: median(p99[i] as number[]), ratio: medianRatio(p99[i] as number[], bare) }))
  return { arrivalsPerSecond, rows }
}
