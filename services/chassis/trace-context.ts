/**
 * W3C Trace Context level 2 (https://www.w3.org/TR/trace-context-2/): reading and writing of `traceparent` and `tracestate`.
 * OpenTelemetry's own propagator drops the random flag, hence this file.
 */
export interface TraceParent {
  /** 32 lower-case hex digits, not all zero. */
  traceId: string
  /** 16 lower-case hex digits, not all zero. */
  spanId: string
  sampled: boolean
  /** Level 2: whether the right 7 bytes of the trace id are random. */
  random: boolean
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** Section 3.2: a broken header, several headers, version ff or ids of zeros mean that there is no parent. */
export function parseTraceparent(header: string | string[] | undefined): TraceParent | undefined {
  if (typeof header !== 'string') return undefined
  const [, version, traceId, spanId, flags, rest] = TRACEPARENT.exec(header.trim()) ?? []
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return undefined
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  const bits = Number.parseInt(flags, 16)
  return { traceId, spanId, sampled: (bits & 1) === 1, random: (bits & 2) === 2 }
}

/** Version 00 with the two flags that level 2 defines; others are sent as zero (section 3.2.2.5.3). */
export function formatTraceparent({ traceId, spanId, sampled, random }: TraceParent): string {
  return `00-${traceId}-${spanId}-0${(sampled ? 1 : 0) | (random ? 2 : 0)}`
}

// Section 3.3.1.3: simple keys, and multi-tenant keys of the form tenant@system.
const KEY = /^(?:[a-z][_0-9a-z\-*/]{0,255}|[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13})$/
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/
const MAX_MEMBERS = 32

/**
 * The `tracestate` to send on: members in their order. A list with an illegal or repeated member, or more than 32 of them, is
 * dropped as a whole (section 3.3.1).
 */
export function parseTracestate(header: string | string[] | undefined): string | undefined {
  const joined = Array.isArray(header) ? header.join(',') : header
  if (joined === undefined) return undefined
  const members = joined
    .split(',')
    .map(m => m.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter(m => m !== '')
  if (members.length === 0 || members.length > MAX_MEMBERS) return undefined
  const keys = new Set<string>()
  for (const member of members) {
    const at = member.indexOf('=')
    const key = member.slice(0, at)
    if (at < 1 || !KEY.test(key) || !VALUE.test(member.slice(at + 1)) || keys.has(key)) return undefined
    keys.add(key)
  }
  return members.join(',')
}
