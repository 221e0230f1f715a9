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

// Section 3.3.1.3.1; level 1 told tenant and system apart, level 2 allows @ anywhere but in front.
const KEY = /^[a-z0-9][_0-9a-z\-*/@]{0,255}$/
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/
const MAX_MEMBERS = 32
/** What section 3.3.1.5 asks everybody to carry. More would let a stranger's list outgrow the next service's limit of a request head. */
const MAX_CHARACTERS = 512

/**
 * The `tracestate` to send on: members in their order, without empty ones. A list with an illegal member, or more than 32 of them
 * or 512 characters, is dropped as a whole; a repeated key is its sender's affair and stays (section 3.5).
 */
export function parseTracestate(header: string | string[] | undefined): string | undefined {
  const joined = Array.isArray(header) ? header.join(',') : header
  // With these characters alone, trim() takes off spaces and tabs and nothing else.
  if (joined === undefined || !/^[\t\x20-\x7e]*$/.test(joined)) return undefined
  const members = joined
    .split(',')
    .map(member => member.trim())
    .filter(member => member !== '')
  if (members.length === 0 || members.length > MAX_MEMBERS) return undefined
  for (const member of members) {
    const at = member.indexOf('=')
    if (at < 1 || !KEY.test(member.slice(0, at)) || !VALUE.test(member.slice(at + 1))) return undefined
  }
  const list = members.join(',')
  return list.length > MAX_CHARACTERS ? undefined : list
}
