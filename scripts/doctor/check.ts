import { setTimeout as pause } from 'node:timers/promises'
import { unlessAborted } from '@fairlead/chassis'
import type { Remedy } from '../remedy.ts'
import { CommandError, printable } from '../terminal.ts'

/** What a check cannot look at here, and why. */
export class NotHere extends Error {
  override name = 'NotHere'
}

/** An object that is not as the graph gives it. */
export interface Cause {
  /** `Kind namespace/name` */
  object: string
  /** How it differs, e.g. `spec.replicas is 0, the graph says 1`. */
  difference: string
}

const MOST_CAUSES = 3

/** What does not work. */
export class Fault extends CommandError {
  readonly causes: readonly Cause[]
  constructor(symptom: string, remedy: Remedy, causes: readonly Cause[] = []) {
    const named = causes.slice(0, MOST_CAUSES).map(({ object, difference }) => `${object}: ${difference}`)
    const left = causes.length > MOST_CAUSES ? [`and ${causes.length - MOST_CAUSES} more`] : []
    super(causes.length > 0 ? `${symptom}; the cause: ${[...named, ...left].join('; ')}` : symptom, remedy)
    this.causes = causes
  }
}

export interface Check {
  /** E.g. `edge order -> user`. */
  name: string
  /** Whether there is nothing to look at unless the journey is taken. */
  ofJourney?: true
  /**
   * Tries the thing itself.
   * @returns what was seen
   * @throws Fault, or another CommandError, when it does not work; NotHere when there is nothing to try
   */
  run(signal: AbortSignal): Promise<string>
}

export interface Result {
  name: string
  outcome: 'passed' | 'failed' | 'skipped'
  /** What was seen, what is wrong, or why it was not tried. */
  message: string
  /** Of a check that failed: which objects are the likely cause. */
  causes?: readonly Cause[]
  /** Of a check that failed. */
  remedy?: Remedy
  ms: number
}

/** How long a change may take to arrive: the kubelet hands Prometheus its files, then two scrapes and an evaluation. */
export const ARRIVAL_MS = 120_000
/** Longer than any check waits by itself. */
const CHECK_TIMEOUT_MS = ARRIVAL_MS + 30_000

/** How long checks may put in order what they have begun, e.g. remove pods, once they are interrupted. */
const TIDY_MS = 5_000

/** @param work the check's own, also after its result is known */
async function resultOf({ name }: Check, work: Promise<string>, ended: AbortSignal, otherwise: Remedy): Promise<Result> {
  const startedAt = performance.now()
  const outcome = await unlessAborted(ended, work).then(
    (message): Omit<Result, 'name' | 'ms'> => ({ outcome: 'passed', message }),
    error => outcomeOf(error, otherwise),
  )
  return { name, ...outcome, ms: Math.round(performance.now() - startedAt) }
}

function outcomeOf(error: Error, otherwise: Remedy): Omit<Result, 'name' | 'ms'> {
  if (error instanceof NotHere) return { outcome: 'skipped', message: error.message }
  const { causes = [] } = error instanceof Fault ? error : {}
  const remedy = error instanceof CommandError && Object.keys(error.remedy).length > 0 ? error.remedy : otherwise
  return { outcome: 'failed', message: printable(error.message), ...(causes.length > 0 && { causes }), remedy }
}

export interface RunOptions {
  signal: AbortSignal
  show: (result: Result) => void
  /** What to do about a fault that says nothing of that. @default nothing */
  otherwise?: Remedy
  /** Longest time of the checks, which run at once. @default 150000 */
  timeoutMs?: number
  /** How long checks may put in order what they have begun, once they are interrupted. @default 5000 */
  tidyMs?: number
}

/**
 * Runs all checks at once and hands out their results in the order of the list: from the outside in, so that the first that fails
 * is the one to begin with.
 */
export async function runChecks(checks: readonly Check[], options: RunOptions): Promise<Result[]> {
  const { signal, show, otherwise = {}, timeoutMs = CHECK_TIMEOUT_MS, tidyMs = TIDY_MS } = options
  signal.throwIfAborted()
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new CommandError(`no answer in ${timeoutMs / 1_000} s`, otherwise)), timeoutMs)
  const ended = AbortSignal.any([signal, late.signal])
  const works = checks.map(async ({ run }) => run(ended))
  try {
    const running = checks.map((check, index) => resultOf(check, works[index] as Promise<string>, ended, otherwise))
    const results: Result[] = []
    for (const result of running) {
      results.push(await result)
      signal.throwIfAborted()
      show(results.at(-1) as Result)
    }
    return results
  } finally {
    clearTimeout(timer)
    if (signal.aborted) await settled(works, tidyMs)
  }
}

/** Waits until all have ended, however they do, for a while. */
async function settled(works: readonly Promise<unknown>[], timeoutMs: number): Promise<void> {
  const done = new AbortController()
  await Promise.race([Promise.allSettled(works), pause(timeoutMs, undefined, { signal: done.signal })])
  done.abort()
}
