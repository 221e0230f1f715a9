/** A call that brought no declared answer: the callee was not reached, too slow, or answered something else. */
export class CallError extends Error {
  override name = 'CallError'
  /** `unreachable`, `timeout`, `circuit-open`, `deadline-exceeded`, `cancelled` or `status-NNN`. */
  readonly code: string
  readonly status: number | undefined
  constructor(code: string, detail: string, options: { cause?: unknown; status?: number } = {}) {
    super(detail, { cause: options.cause })
    this.code = code
    this.status = options.status
  }
}
