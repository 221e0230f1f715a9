export interface BackoffOptions {
  baseMs: number
  capMs: number
  random?: () => number
}

/**
 * Exponential backoff with full jitter: evenly between 0 and min(cap, base * 2^attempt), in milliseconds.
 * Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 * @param attempt 0 for the first wait
 */
export const backoffMs = (attempt: number, { baseMs, capMs, random = Math.random }: BackoffOptions): number =>
  random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30))
