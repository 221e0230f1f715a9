import { deadlineExceeded, Failure, unavailable } from '../contract/failure.ts'

// SQLSTATEs of https://www.postgresql.org/docs/current/errcodes-appendix.html, and what Node.js says of sockets.
const LOST = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', '57P01', '57P02', '57P03'])
const RETRYABLE = new Set(['40001', '40P01', '53300', '53400'])
const TIMED_OUT = new Set(['57014', '55P03', '25P03'])

/** Whether the connection can no longer be used. */
export function isConnectionLost(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return (
    (code !== undefined && (LOST.has(code) || code.startsWith('08'))) ||
    /^Connection terminated|connection error and is not queryable/.test(message ?? '')
  )
}

export const unreachable = (cause: unknown): Failure => unavailable('The database cannot be reached', cause)

/** A failure that a caller may see; any error that is not about the connection, load or time comes back unchanged. */
export function toDatabaseFailure(error: unknown): unknown {
  if (error instanceof Failure) return error
  const code = (error as { code?: string }).code ?? ''
  if (isConnectionLost(error)) return unreachable(error)
  if (RETRYABLE.has(code)) return unavailable('The database is busy', error)
  if (TIMED_OUT.has(code)) return deadlineExceeded(error)
  return error
}
