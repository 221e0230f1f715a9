import type { Attributes, AttributeValue, Link } from '@opentelemetry/api'
import type { EndedSpan, SpanEvent } from './spans.ts'

/**
 * JSON of OTLP, https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, written as text: ids are hex, enumerations numbers,
 * times decimal texts of nanoseconds.
 */
export function encodeSpan(span: EndedSpan): string {
  const { traceId, spanId, traceState } = span.spanContext()
  const parent = span.parentSpanContext
  const state = traceState?.serialize()
  let text = `{"traceId":"${traceId}","spanId":"${spanId}",`
  if (state) text += `"traceState":${JSON.stringify(state)},`
  if (parent) text += `"parentSpanId":"${parent.spanId}",`
  text += `"flags":${flagsOf(parent?.isRemote)},"name":${textOf(span.name)},"kind":${span.kind + 1}`
  text += `,"startTimeUnixNano":"${nanoseconds(span.startTime)}","endTimeUnixNano":"${nanoseconds(span.endTime)}"`
  const given = encodedOnce(span.given)
  const added = encodeAttributes(span.added)
  text += `,"attributes":[${given}${given && added ? ',' : ''}${added}]`
  if (span.droppedAttributesCount > 0) text += `,"droppedAttributesCount":${span.droppedAttributesCount}`
  if (span.events.length > 0) text += `,"events":[${span.events.map(encodeEvent).join(',')}]`
  if (span.droppedEventsCount > 0) text += `,"droppedEventsCount":${span.droppedEventsCount}`
  if (span.links.length > 0) text += `,"links":[${span.links.map(encodeLink).join(',')}]`
  if (span.droppedLinksCount > 0) text += `,"droppedLinksCount":${span.droppedLinksCount}`
  const { code, message } = span.status
  text += `,"status":{"code":${code}${message ? `,"message":${JSON.stringify(message)}` : ''}}}`
  return text
}

/** What is around the spans of a request, in ASCII: spans as encodeSpan writes them, with commas between. */
export const envelope = (resource: Attributes): { head: string; tail: string } => ({
  head: `{"resourceSpans":[{"resource":{"attributes":[${ascii(encodeAttributes(resource))}]},"scopeSpans":[{"scope":{"name":"fairlead"},"spans":[`,
  tail: ']}]}]}',
})

const ascii = (json: string) => json.replace(/[\u0080-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Sampled, that it is known whether the parent is remote, and whether it is. */
const flagsOf = (isRemote: boolean | undefined): number => 0x01 | 0x100 | (isRemote ? 0x200 : 0)

const nanoseconds = ([seconds, rest]: [number, number]): string => `${seconds}${String(rest).padStart(9, '0')}`

const encodeEvent = ({ name, time, attributes = {} }: SpanEvent): string =>
  `{"name":${JSON.stringify(name)},"timeUnixNano":"${nanoseconds(time)}","attributes":[${encodeAttributes(attributes)}]}`

const encodeLink = ({ context, attributes = {} }: Link): string => {
  const state = context.traceState?.serialize()
  return `{"traceId":"${context.traceId}","spanId":"${context.spanId}",${state ? `"traceState":${JSON.stringify(state)},` : ''}"attributes":[${encodeAttributes(attributes)}],"flags":${flagsOf(context.isRemote)}}`
}

/** Objects that many spans begin with: attributes of a statement, of a route. */
const encoded = new WeakMap<Attributes, string>()

/** Says that these never change, so that they are encoded once. */
export function fixed<A extends Attributes>(attributes: A): A {
  Object.freeze(attributes)
  encoded.set(attributes, encodeAttributes(attributes))
  return attributes
}

const encodedOnce = (attributes: Attributes): string => encoded.get(attributes) ?? encodeAttributes(attributes)

function encodeAttributes(attributes: Attributes): string {
  let text = ''
  for (const key in attributes) {
    const value = encodeValue(attributes[key])
    if (value !== undefined) text += `${text === '' ? '' : ','}{"key":${textOf(key)},"value":${value}}`
  }
  return text
}

function encodeValue(value: AttributeValue | undefined | null): string | undefined {
  if (typeof value === 'string') return `{"stringValue":${JSON.stringify(value)}}`
  if (typeof value === 'number') return Number.isSafeInteger(value) ? `{"intValue":"${value}"}` : encodeDouble(value)
  if (typeof value === 'boolean') return `{"boolValue":${value}}`
  if (Array.isArray(value)) return `{"arrayValue":{"values":[${value.map(element => encodeValue(element) ?? '{}').join(',')}]}}`
  return undefined
}

/** NaN and the infinities are texts (https://protobuf.dev/programming-guides/json/). */
const encodeDouble = (value: number): string => `{"doubleValue":${Number.isFinite(value) ? value : `"${String(value)}"`}}`

/** Keys and names of spans, of which there are few. */
const texts = new Map<string, string>()
const MAX_TEXTS = 1_000

function textOf(name: string): string {
  const known = texts.get(name)
  if (known !== undefined) return known
  const text = JSON.stringify(name)
  if (texts.size < MAX_TEXTS) texts.set(name, text)
  return text
}
