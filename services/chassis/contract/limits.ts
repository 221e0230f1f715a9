/** Longest head of a request; the bundled ingress holds to it as well. */
export const MAX_HEAD_BYTES = 16_384

/** Longest body of an operation that names no `maxBodyBytes`. */
export const MAX_BODY_BYTES = 65_536

/** Event-loop delay above which requests are refused, by default, in milliseconds. */
export const MAX_LOOP_DELAY_MS = 500

/** Retries per call that was offered, by default. */
export const RETRY_RATIO = 0.2
