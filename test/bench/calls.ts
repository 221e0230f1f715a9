import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { memoryVariables } from '../../infra/kit/objects/memory.ts'
import { CommandError, say } from '../../scripts/terminal.ts'
import type { Bench } from './bench.ts'
import { type Cores, moveTo } from './cores.ts'
import type { Called, Calls, Hop } from './hop.ts'
import { lowerQuartile, median, medianRatio } from './statistics.ts'

/** A call from one process to another, both on cores of their own. */
export interface HopMeasured {
  name: Hop
  /** One call after the other. */
  p50Ms: number
  /** Beside the bare call over the same transport, round by round: what it adds in milliseconds, and how many times its processor time. */
  addedMs: number
  cpuRatio: number
  /** 16 calls at once; of both ends. */
  callerMicros: number
  calleeMicros: number
}

/** In pairs: the bare call, and ours over the same transport. */
const HOPS: readonly Hop[] = ['undici, bare', 'HTTP edge', 'grpc-js, bare', 'gRPC edge']
const AT_ONCE = 16

/** Every kind of call in turn, several rounds. */
export async function measureCalls({ options, cores, collector, signal, results }: Bench): Promise<void> {
  const { rounds, seconds } = options
  const count = Math.ceil(4_000 * seconds)
  const children: ChildProcess[] = []
  try {
    const pairs: Pair[] = []
    for (const name of HOPS) pairs.push(await startPair(name, cores, collector, children))
    const samples = HOPS.map(() => [] as Sample[])
    for (let round = 0; round <= rounds; round++) {
      say(round === 0 ? `warming up ${HOPS.length} kinds of calls` : `round ${round} of ${rounds}, ${count} calls of each kind`)
      for (const [i, pair] of pairs.entries()) {
        signal.throwIfAborted()
        const sample = await pair.measure(count)
        if (round > 0) samples[i]?.push(sample)
      }
    }
    results.calls = HOPS.map((name, i) => compare(name, samples[i] as Sample[], samples[i - (i % 2)] as Sample[]))
  } finally {
    moveTo(cores?.load)
    for (const child of children) child.kill('SIGKILL')
  }
}

interface Sample {
  p50Ms: number
  callerMicros: number
  calleeMicros: number
}

interface Pair {
  measure(count: number): Promise<Sample>
}

async function startPair(name: Hop, cores: Cores | undefined, collector: string, children: ChildProcess[]): Promise<Pair> {
  const start = async (core: number | undefined, ...args: string[]) => {
    moveTo(core)
    const env = { ...process.env, ...memoryVariables({}), OTEL_EXPORTER_OTLP_ENDPOINT: `${collector}/${encodeURIComponent(name)}` }
    const options = { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] as ('ignore' | 'inherit' | 'ipc')[] }
    const child = fork(fileURLToPath(new URL('./hop.ts', import.meta.url)), args, options)
    children.push(child)
    return { child, said: await answerOf(child) }
  }
  const callee = await start(cores?.server, 'callee', name)
  const caller = await start(cores?.load, 'caller', name, String(callee.said))
  const ask = async <T>(child: ChildProcess, question: unknown) => {
    const answer = answerOf(child)
    child.send(question as never)
    return (await answer) as T
  }
  const call = async (calls: Calls) => {
    const called = await ask<Called | { error: string }>(caller.child, calls)
    if ('error' in called) throw new CommandError(`${name}: ${called.error}`)
    return called
  }
  return {
    measure: async count => {
      const { p50Ms } = await call({ count: Math.ceil(count / 4), atOnce: 1 })
      await ask(callee.child, 'used')
      const { cpuMicros } = await call({ count, atOnce: AT_ONCE })
      const used = await ask<number>(callee.child, 'used')
      return { p50Ms, callerMicros: cpuMicros, calleeMicros: used / count }
    },
  }
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const ended = new AbortController()
  const gone = once(child, 'exit', { signal: ended.signal }).then(([code]) => {
    throw new CommandError(`the process of a call ended with ${code}`)
  })
  try {
    const [answer] = (await Promise.race([once(child, 'message', { signal: AbortSignal.timeout(120_000) }), gone])) as [unknown]
    return answer
  } finally {
    gone.catch(() => {})
    ended.abort()
  }
}

function compare(name: Hop, own: Sample[], bare: Sample[]): HopMeasured {
  const both = ({ callerMicros, calleeMicros }: Sample) => callerMicros + calleeMicros
  return {
    name,
    p50Ms: median(own.map(({ p50Ms }) => p50Ms)),
    addedMs: median(own.map(({ p50Ms }, round) => p50Ms - (bare[round] as Sample).p50Ms)),
    cpuRatio: medianRatio(own.map(both), bare.map(both)),
    callerMicros: lowerQuartile(own.map(({ callerMicros }) => callerMicros)),
    calleeMicros: lowerQuartile(own.map(({ calleeMicros }) => calleeMicros)),
  }
}
