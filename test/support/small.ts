/** What a service has to say of itself, where a test is about something else. */
export const small = {
  timeoutMs: 1_000,
  maxConcurrency: 10,
  slo: { availability: 0.99, latency: { thresholdMs: 100, objective: 0.99 } },
  scale: { min: 1, max: 2 },
} as const
