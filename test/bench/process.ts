import { readFileSync } from 'node:fs'
import { say } from '../../scripts/terminal.ts'
import { type Bench, startOrder, startUser, withServers } from './bench.ts'
import { ordersOf } from './orders.ts'
import { PRODUCT } from './peers.ts'
import type { Server } from './processes.ts'
import type { MemoryMeasured } from './report.ts'
import { median } from './statistics.ts'

const STARTS = 7
const CONNECTIONS = 64
/** Half of them ask for a product, half place orders. */
const MINUTES = 5

/** From spawn until /readyz says so, its database connections open. */
export async function measureReady(bench: Bench): Promise<void> {
  const versions = [bench.ours, ...(bench.compared ? [bench.compared] : [])]
  await withServers([() => startUser(bench)], async () => {
    const times = versions.map(() => [] as number[])
    let names: string[] = []
    for (let n = 0; n < STARTS; n++) {
      const servers: Server[] = []
      for (const version of versions) {
        bench.signal.throwIfAborted()
        await withServers([() => startOrder(bench, { version })], async started => void servers.push(...started))
      }
      for (const [i, { readyMs }] of servers.entries()) times[i]?.push(readyMs)
      names = servers.map(({ name }) => name)
    }
    bench.results.ready = names.map((name, i) => ({ name, readyMs: median(times[i] as number[]) }))
  })
}

/** What both services hold after minutes of load. */
export async function measureMemory(bench: Bench): Promise<void> {
  const { generator, signal, options } = bench
  await withServers([() => startUser(bench), () => startOrder(bench)], async servers => {
    const [users, orders] = servers as [Server, Server]
    const posted = await ordersOf({ origin: name => (name === 'user' ? users.url : orders.url), signal })
    const rows: MemoryMeasured[] = servers.map(({ name }) => ({ name, minutes: [] }))
    for (let minute = 1; minute <= MINUTES; minute++) {
      signal.throwIfAborted()
      say(`minute ${minute} of ${MINUTES} at ${CONNECTIONS} connections`)
      await generator.run({ url: orders.url + PRODUCT, seconds: 30 * options.seconds, connections: CONNECTIONS })
      await generator.run({ url: orders.url, seconds: 30 * options.seconds, connections: CONNECTIONS, posted })
      for (const [i, { pid }] of servers.entries()) rows[i]?.minutes.push(memoryOf(pid))
    }
    bench.results.memory = rows
  })
}

/** In MiB: resident, and of that what no file backs. */
function memoryOf(pid: number): { residentMiB: number; anonymousMiB: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1_024
  return { residentMiB: of('VmRSS'), anonymousMiB: of('RssAnon') }
}
