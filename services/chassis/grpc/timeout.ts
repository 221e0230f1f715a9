export const TIMEOUT_HEADER = 'grpc-timeout'

const UNIT_MS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }

/** @returns milliseconds, or undefined for what is no timeout: a positive number of at most 8 digits and a unit */
export function parseTimeout(header: string): number | undefined {
  const [, value, unit] = /^(\d{1,8})([HMSmun])$/.exec(header) ?? []
  return unit && Number(value) > 0 ? Number(value) * (UNIT_MS[unit] as number) : undefined
}

/** Largest value of 8 digits. */
const MAX = 99_999_999

export const formatTimeout = (ms: number): string => `${Math.min(MAX, Math.max(1, Math.floor(ms)))}m`
