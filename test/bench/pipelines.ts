import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { say } from '../../scripts/terminal.ts'
import { freePort } from '../../services/chassis/local/ports.ts'
import { type Bench, roundOptions, startOrder, startPeer, withServers } from './bench.ts'
import { residentMiB } from './cores.ts'
import { measureInRounds } from './rounds.ts'
import { STAGES } from './stages.ts'

/** The order service from source, without one stage after the other. */
export async function measureStages(bench: Bench): Promise<void> {
  const { ours, signal, options } = bench
  const program = fileURLToPath(new URL('./stages.ts', import.meta.url))
  const env = { ...ours.local.environment(ours.definition('order')), ADMIN_PORT: '0', LINGER_MS: '0' }
  const start = (name: string) => () => {
    signal.throwIfAborted()
    return startPeer(bench, { name, args: [program], env: { ...env, WITHOUT: name, OTEL_EXPORTER_OTLP_ENDPOINT: `${bench.collector}/${name}` } })
  }
  say(`starting ${STAGES.length + 1} services`)
  await withServers(['all', ...STAGES].map(start), async servers => {
    const rounds = roundOptions(bench, 16)
    bench.results.stages = await measureInRounds(servers, { ...rounds, seconds: options.seconds / 2, warmUpSeconds: rounds.warmUpSeconds / 2 })
  })
}

/** With a collector that takes the spans, with none, and with one that takes connections and never answers. */
export async function measureCollector(bench: Bench): Promise<void> {
  const hanging = createServer(() => {})
  await new Promise<void>(resolve => hanging.listen(0, '127.0.0.1', resolve))
  const collectors = {
    'takes spans': undefined,
    'is killed': `http://127.0.0.1:${await freePort()}`,
    hangs: `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`,
  }
  const starts = Object.entries(collectors).map(
    ([name, url]) =>
      () =>
        startOrder(bench, { name, ...(url && { env: { OTEL_EXPORTER_OTLP_ENDPOINT: url } }) }),
  )
  try {
    await withServers(starts, async servers => {
      const measured = await measureInRounds(servers, roundOptions(bench, 16))
      bench.results.collector = measured.map((row, i) => ({ ...row, residentMiB: residentMiB(servers[i]?.pid as number) }))
    })
  } finally {
    hanging.closeAllConnections()
    hanging.close()
  }
}
