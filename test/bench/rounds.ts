import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError } from '../../scripts/terminal.ts'
import { cpuSeconds } from './cores.ts'
import type { LoadResult } from './load.ts'
import type { Generator, Server } from './processes.ts'
import { lowerQuartile, median, medianRatio } from './statistics.ts'

export interface Measured {
  name: string
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** Throughput relative to the first server, round by round. */
  ratio: number
  /** The 99th percentile relative to that of the first server, round by round. */
  p99Ratio: number
  /** Processor time a request, in microseconds, in the rounds that others disturbed least; NaN where it is not known. */
  cpuMicros: number
  /** The least and the most of all rounds. */
  cpuSpread: [number, number]
  /** Share of its core that the server used; far below 1 means that something else was the limit. */
  busy: number
  /** Spans that reached the collector, a request. */
  spans: number
}

export interface RoundOptions {
  path: string
  rounds: number
  seconds: number
  warmUpSeconds: number
  connections: number
  generator: Generator
  /** URL of the collector, which counts each server's spans by its name. */
  collector: string
  signal: AbortSignal
  say: (text: string) => void
}

type Sample = LoadResult & { cpuMicros: number; busy: number }

/** Measures servers in turn, several rounds, so that a noisy minute hits all of them. */
export async function measureInRounds(servers: readonly Server[], options: RoundOptions): Promise<Measured[]> {
  const { rounds, seconds, warmUpSeconds, collector, signal, say } = options
  const counted = async () => (await (await fetch(collector, { signal })).json()) as Record<string, number>
  const before = await counted()
  const sent = servers.map(() => 0)
  const samples = servers.map(() => [] as Sample[])
  for (let round = 0; round <= rounds; round++) {
    say(round === 0 ? `warming up ${servers.length} servers` : `round ${round} of ${rounds}, ${servers.length} servers for ${seconds} s each`)
    for (const [i, server] of servers.entries()) {
      signal.throwIfAborted()
      const sample = await once(server, round === 0 ? { ...options, seconds: warmUpSeconds } : options)
      sent[i] = (sent[i] as number) + sample.requests
      if (round > 0) samples[i]?.push(sample)
    }
  }
  // The exporters send once a second.
  await sleep(1_500, undefined, { signal })
  const spans = await counted()
  const perSecond = samples.map(list => list.map(sample => sample.perSecond))
  const p99 = samples.map(list => list.map(sample => sample.p99Ms))
  return servers.map(({ name }, i) => {
    const cpuMicros = (samples[i] as Sample[]).map(sample => sample.cpuMicros)
    const middle = (what: Exclude<keyof Sample, 'statuses'>) => median((samples[i] as Sample[]).map(sample => sample[what]))
    return {
      name,
      perSecond: middle('perSecond'),
      p50Ms: middle('p50Ms'),
      p99Ms: middle('p99Ms'),
      ratio: medianRatio(perSecond[i] as number[], perSecond[0] as number[]),
      p99Ratio: medianRatio(p99[i] as number[], p99[0] as number[]),
      cpuMicros: lowerQuartile(cpuMicros),
      cpuSpread: [Math.min(...cpuMicros), Math.max(...cpuMicros)],
      busy: middle('busy'),
      spans: ((spans[name] ?? 0) - (before[name] ?? 0)) / (sent[i] as number),
    }
  })
}

async function once(server: Server, { path, seconds, connections, generator }: RoundOptions): Promise<Sample> {
  const before = cpuSeconds(server.pid) ?? Number.NaN
  const result = await generator.run({ url: server.url + path, seconds, connections })
  const used = (cpuSeconds(server.pid) ?? Number.NaN) - before
  if (Object.keys(result.statuses).some(status => status !== '200'))
    throw new CommandError(`${server.name} answered ${JSON.stringify(result.statuses)}`)
  return { ...result, cpuMicros: (used / result.requests) * 1e6, busy: used / seconds }
}
