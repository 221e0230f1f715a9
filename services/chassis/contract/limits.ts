/** Longest head of a request; the bundled ingress holds to it as well. */
export const MAX_HEAD_BYTES = 16_384

/** Longest body of an operation that names no `maxBodyBytes`. */
export const MAX_BODY_BYTES = 65_536

/** Bodies that may be on their way at once. */
export const MAX_ARRIVING_BODIES = 256

/** Retries per call that was offered, by default. */
export const RETRY_RATIO = 0.2
