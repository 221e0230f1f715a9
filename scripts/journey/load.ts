import type { Journey, JourneyStep } from '@fairlead/chassis'
import { connectionsTo } from './call.ts'
import { openLoop } from './open-loop.ts'
import type { RunOptions } from './run-journey.ts'
import { StepError, type Taken, takeStep } from './take-step.ts'
import { beginWay, sourcesOf, type Way } from './way.ts'

/** How many come in side by side: registering and logging in cost a service much more than other requests. */
const COMING_IN = 2

/** A client that has come in. */
export interface Client {
  /** The steps that brought it in. */
  readonly taken: readonly Taken[]
  /** Where each repetition goes on from. */
  readonly way: Way
}

/**
 * A journey as load: `entrance` is what a client does once, up to the last step that gives an access token, and `repeated` what it does
 * again and again. Where no step's answer gives a token, everything is repeated.
 */
export function splitJourney({ steps }: Journey): { entrance: readonly JourneyStep[]; repeated: readonly JourneyStep[] } {
  const sources = steps.flatMap(({ as }) => sourcesOf(as))
  const end = Math.max(0, ...sources.map(source => (source.from === 'answer' ? source.step + 1 : 0)))
  return { entrance: steps.slice(0, end), repeated: steps.slice(end) }
}

/**
 * Brings clients in. What routes and rollouts need a moment for is tried again, as it is not yet load.
 * @throws CommandError naming the step, the status and the problem code
 */
export async function comeIn(journey: Journey, count: number, options: RunOptions): Promise<Client[]> {
  const { steps } = journey
  const { entrance } = splitJourney(journey)
  const dispatcher = connectionsTo(options.host)
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const clients: Client[] = []
  let begun = 0
  const bringIn = async () => {
    while (begun++ < count) {
      const way = beginWay(options.userToken)
      const taken: Taken[] = []
      for (const index of entrance.keys()) taken.push(await takeStep(steps, index, way, { ...options, signal, dispatcher }))
      clients.push({ taken, way })
    }
  }
  try {
    await Promise.all(Array.from({ length: COMING_IN }, bringIn))
    return clients
  } catch (error) {
    failed.abort()
    options.signal.throwIfAborted()
    throw error
  } finally {
    await dispatcher.destroy()
  }
}

export interface LoadOptions extends RunOptions {
  /** Each does one repetition at a time, so that there have to be as many as are under way at once. Their tokens are not renewed. */
  clients: readonly Client[]
  /** Repetitions that are begun in a second, whatever the answers. */
  perSecond: number
}

export interface LoadFailure {
  /** Since the load began. */
  atMs: number
  /** The step, e.g. `order.getOrder`; undefined where there was no client to take one. */
  title?: string
  /** The status that was answered; undefined where there was no answer. */
  status?: number | undefined
  reason: string
}

export interface LoadResult {
  /** How many repetitions were begun, or were to be. */
  repetitions: number
  /** Those that did not go well. */
  failures: LoadFailure[]
  /** Requests by what was asked and what was answered, e.g. `order.listProducts 200`. */
  answers: Record<string, number>
  /** How long each answer took, in milliseconds, the longest last. */
  durationsMs: number[]
}

export interface Load {
  /** Begins no more repetitions, and waits until those under way are done. Rejects with the signal's reason once that has fired. */
  stop(): Promise<LoadResult>
}

/**
 * Offers what a journey repeats as load, as an open loop. An answer that the contract or the journey does not want fails its repetition at
 * once; nothing but what `until` waits for is asked again. So does an arrival that finds no client free. A client whose repetition has
 * failed does not come again: what it left undone would fail its next ones, too.
 */
export function startLoad(journey: Journey, { clients, perSecond, ...options }: LoadOptions): Load {
  const { steps } = journey
  const { entrance, repeated } = splitJourney(journey)
  const dispatcher = connectionsTo(options.host)
  const { signal } = options
  const result: LoadResult = { repetitions: 0, failures: [], answers: {}, durationsMs: [] }
  const free = [...clients]
  const startedAt = performance.now()
  const fail = (failure: Omit<LoadFailure, 'atMs'>) => result.failures.push({ atMs: Math.round(performance.now() - startedAt), ...failure })
  const onAnswer = (title: string, status: number, ms: number) => {
    const key = `${title} ${status}`
    result.answers[key] = (result.answers[key] ?? 0) + 1
    result.durationsMs.push(ms)
  }
  const loop = openLoop(perSecond, async () => {
    if (signal.aborted) return
    result.repetitions++
    const client = free.shift()
    if (!client) return void fail({ reason: `none of ${clients.length} clients was free` })
    try {
      const way = client.way.fork()
      for (const index of repeated.keys()) await takeStep(steps, entrance.length + index, way, { ...options, dispatcher, strict: true, onAnswer })
      free.push(client)
    } catch (error) {
      const { title, status } = error instanceof StepError ? error : {}
      fail({ ...(title !== undefined && { title }), status, reason: (error as Error).message })
    }
  })
  return {
    stop: async () => {
      await loop.stop()
      await dispatcher.destroy()
      signal.throwIfAborted()
      result.durationsMs.sort((a, b) => a - b)
      return result
    },
  }
}
