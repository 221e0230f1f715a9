import { defineCommand, runAlone, wholeNumber } from '../../scripts/command.ts'
import { say, usageError } from '../../scripts/terminal.ts'
import { type Bench, withBench } from './bench.ts'
import { measureCalls } from './calls.ts'
import { measureGrowth } from './growth.ts'
import { measureOrders } from './orders.ts'
import { measureOverload } from './overload.ts'
import { installPeers } from './peers.ts'
import { measureCollector, measureStages } from './pipelines.ts'
import { measureMemory, measureReady } from './process.ts'
import { measureProducts } from './products.ts'
import { asked, hasResults, print, type Results } from './report.ts'

/** Each adds to the bench's results what it has measured. */
const PARTS: Record<string, (bench: Bench) => Promise<void>> = {
  ready: measureReady,
  products: measureProducts,
  orders: measureOrders,
  overload: measureOverload,
  calls: measureCalls,
  collector: measureCollector,
  stages: measureStages,
  growth: measureGrowth,
  memory: measureMemory,
}
/** Those that call other frameworks. */
const WITH_PEERS = ['products', 'overload', 'calls']

function partsOf(text: string): string[] {
  const parts = text.split(',')
  const unknown = parts.find(part => !Object.hasOwn(PARTS, part))
  if (unknown !== undefined) throw usageError(`--only '${unknown}' is none of ${Object.keys(PARTS).join(', ')}`)
  return parts
}

function secondsOf(text: string): number {
  const seconds = Number(text)
  if (seconds > 0 && seconds <= 600) return seconds
  throw usageError(`--seconds ${text} is not a number above 0, at most 600`)
}

/** @throws what the first part that failed threw, after all others were measured */
async function measure(bench: Bench, parts: readonly string[]): Promise<void> {
  const failures: unknown[] = []
  for (const part of parts) {
    bench.signal.throwIfAborted()
    await PARTS[part]?.(bench).catch((error: unknown) => {
      bench.signal.throwIfAborted()
      failures.push(error)
      say(`${part} was not measured: ${(error as Error).message}`)
    })
  }
  if (failures.length > 0) throw failures[0]
}

await runAlone(
  defineCommand({
    name: 'npm run bench',
    summary: 'Measure the services beside other frameworks',
    description: `Measures the services as a pod runs them (bundled, with its memory settings) beside bare Koa, Koa, Fastify and NestJS on this
machine, one core for the server under test and one for load and Postgres, and compares with what the design asks. Read the ratios: the
absolute figures are this machine's. The default run takes about half an hour, five minutes of it for memory; the first one also installs
the other frameworks into test/bench/peers. Exits 0 also when a goal is not met.`,
    examples: ['npm run bench', 'npm run bench -- --only orders --rounds 3', 'npm run bench -- --only products,orders --compare HEAD~1'],
    options: command =>
      command
        .option('--rounds <n>', 'rounds of each measurement, interleaved', wholeNumber({ min: 1, max: 1_000 }), 8)
        .option('--seconds <n>', 'length of one measurement of a server; other lengths follow from it', secondsOf, 1)
        .option('--only <list>', `of ${Object.keys(PARTS).join(', ')} (default: all)`, partsOf)
        .option('--compare <revision>', 'a revision of this repository to measure beside the working tree')
        .option('--json', 'results as JSON instead of tables'),
    run: async ({ rounds, seconds, only = Object.keys(PARTS), compare, json }, { interrupts }) => {
      const results: Results = { node: process.version, notes: [] }
      const signal = interrupts()
      try {
        if (only.some(part => WITH_PEERS.includes(part))) await installPeers(signal, say)
        await withBench({ rounds, seconds, ...(compare !== undefined && { compare }) }, results, signal, bench => measure(bench, only))
      } finally {
        if (hasResults(results))
          process.stdout.write(json ? `${JSON.stringify({ ...results, asked: asked(results) }, null, 2)}\n` : `\n${print(results)}`)
      }
      return 0
    },
  }),
)
