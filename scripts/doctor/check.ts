import { CommandError, printable } from '../terminal.ts'

/** What a check cannot look at here, and why. */
export class NotHere extends Error {
  override name = 'NotHere'
}

export interface Check {
  /** E.g. `edge order -> user`. */
  name: string
  /**
   * Tries the thing itself.
   * @returns what was seen
   * @throws CommandError when it does not work; NotHere when there is nothing to try
   */
  run(signal: AbortSignal): Promise<string>
}

export interface Result {
  name: string
  outcome: 'passed' | 'failed' | 'skipped'
  /** What was seen, what is wrong, or why it was not tried. */
  message: string
  /** What to do, of a check that failed. */
  remedy?: string
  ms: number
}

/** How long a change may take to arrive: the kubelet hands Prometheus its files, then two scrapes and an evaluation. */
export const ARRIVAL_MS = 120_000
/** Longer than any check waits by itself. */
const CHECK_TIMEOUT_MS = ARRIVAL_MS + 30_000

async function runOne({ name, run }: Check, interrupted: AbortSignal, timeoutMs: number, address: (text: string) => string): Promise<Result> {
  const startedAt = performance.now()
  const timeout = new AbortController()
  // Not AbortSignal.timeout, which keeps the process alive until it fires once somebody listens.
  const timer = setTimeout(() => timeout.abort(new CommandError(`no answer in ${timeoutMs / 1_000} s`, 'npx fairlead status')), timeoutMs)
  const signal = AbortSignal.any([interrupted, timeout.signal])
  const ended = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  const outcome = await Promise.race([run(signal), ended])
    .then((message): Omit<Result, 'name' | 'ms'> => ({ outcome: 'passed', message }), outcomeOf)
    .finally(() => clearTimeout(timer))
  const remedy = outcome.remedy && { remedy: address(outcome.remedy) }
  return { name, ...outcome, ...remedy, ms: Math.round(performance.now() - startedAt) }
}

function outcomeOf(error: Error & { hint?: string }): Omit<Result, 'name' | 'ms'> {
  if (error instanceof NotHere) return { outcome: 'skipped', message: error.message }
  const { hint: remedy = 'npx fairlead status' } = error
  return { outcome: 'failed', message: printable(error.message), remedy: printable(remedy) }
}

export interface RunOptions {
  signal: AbortSignal
  show: (result: Result) => void
  /** Makes the commands of a remedy ones for the cluster that is looked at. @default as they are */
  address?: (text: string) => string
  /** Longest time of one check. @default 150000 */
  timeoutMs?: number
}

/**
 * Runs all checks at once and hands out their results in the order of the list: from the outside in, so that the first that fails
 * is the one to begin with.
 */
export async function runChecks(
  checks: readonly Check[],
  { signal, show, address = text => text, timeoutMs = CHECK_TIMEOUT_MS }: RunOptions,
): Promise<Result[]> {
  signal.throwIfAborted()
  const running = checks.map(check => runOne(check, signal, timeoutMs, address))
  const results: Result[] = []
  for (const result of running) {
    results.push(await result)
    signal.throwIfAborted()
    show(results.at(-1) as Result)
  }
  return results
}
