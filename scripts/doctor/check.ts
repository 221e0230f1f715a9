/** What is wrong, and what to do about it: a check that fails throws one. */
export class Trouble extends Error {
  override name = 'Trouble'
  readonly remedy: string
  constructor(message: string, remedy: string) {
    super(message)
    this.remedy = remedy
  }
}

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
   * @throws Trouble when it does not work; NotHere when there is nothing to try
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

/** Longer than the slowest check waits for by itself. */
const CHECK_TIMEOUT_MS = 120_000

async function runOne({ name, run }: Check, interrupted: AbortSignal, timeoutMs: number): Promise<Result> {
  const startedAt = performance.now()
  const timeout = new AbortController()
  // Not AbortSignal.timeout, which keeps the process alive until it fires once somebody listens.
  const timer = setTimeout(() => timeout.abort(new Trouble(`no answer in ${timeoutMs / 1_000} s`, 'npm run status')), timeoutMs)
  const signal = AbortSignal.any([interrupted, timeout.signal])
  const ended = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  const outcome = await Promise.race([run(signal), ended])
    .then((message): Omit<Result, 'name' | 'ms'> => ({ outcome: 'passed', message }), outcomeOf)
    .finally(() => clearTimeout(timer))
  return { name, ...outcome, ms: Math.round(performance.now() - startedAt) }
}

function outcomeOf(error: Error & { hint?: string }): Omit<Result, 'name' | 'ms'> {
  if (error instanceof NotHere) return { outcome: 'skipped', message: error.message }
  const remedy = error instanceof Trouble ? error.remedy : (error.hint ?? 'npm run status')
  return { outcome: 'failed', message: error.message, remedy }
}

/**
 * Runs all checks at once and hands out their results in the order of the list: from the outside in, so that the first that fails
 * is the one to begin with.
 */
export async function runChecks(
  checks: readonly Check[],
  { signal, show, timeoutMs = CHECK_TIMEOUT_MS }: { signal: AbortSignal; show: (result: Result) => void; timeoutMs?: number },
): Promise<Result[]> {
  signal.throwIfAborted()
  const running = checks.map(check => runOne(check, signal, timeoutMs))
  const results: Result[] = []
  for (const result of running) {
    results.push(await result)
    signal.throwIfAborted()
    show(results.at(-1) as Result)
  }
  return results
}
