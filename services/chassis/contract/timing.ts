/** Times that manifests are checked against, in milliseconds. */

/** How long a service keeps an idle connection: above the 90 s after which Traefik drops one, so that it never sends on one that we close. */
export const KEEP_ALIVE_MS = 95_000

/** After SIGTERM, how long new connections are still taken. */
export const LINGER_MS = 1_000

/** How long requests in flight then have. */
export const FINISH_MS = 10_000

/** How long relay, telemetry and pool take to close at most, each bounded by itself. */
export const CLOSE_MS = 10_000

/** Pauses between attempts of one call, of which full jitter takes a part. */
export const RETRY_BACKOFF = { baseMs: 25, capMs: 250 }
