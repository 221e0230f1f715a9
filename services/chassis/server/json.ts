import { invalidRequest } from '../contract/failure.ts'

/** Levels of objects and arrays that a request body may nest. */
const MAX_DEPTH = 16

/**
 * Parses a JSON text as I-JSON (RFC 7493) asks: valid UTF-8, no duplicate member names, no lone surrogates, no number beyond a
 * double; besides no NUL (Postgres cannot store one) and at most 16 levels. Takes time linear in the text.
 * @throws Failure `invalid-request`
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  const text = decode(bytes)
  // Depth comes first: JSON.parse recurses.
  checkStructure(text)
  const value = parse(text)
  checkValue(value)
  return value
}

const refuse = (message: string) => invalidRequest([{ field: 'body', message }])

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw refuse('is not valid UTF-8')
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw refuse('is not valid JSON')
  }
}

/** A walk of its own: a reviver would cost JSON.parse ten times as much. */
function checkValue(value: unknown): void {
  if (typeof value === 'string') checkText(value)
  else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw refuse('has a number larger than a double holds')
  } else if (Array.isArray(value)) for (const element of value) checkValue(element)
  else if (value !== null && typeof value === 'object') {
    for (const name of Object.keys(value)) {
      checkText(name)
      checkValue((value as Record<string, unknown>)[name])
    }
  }
}

function checkText(text: string): void {
  if (text.includes('\0')) throw refuse('has a NUL character in a string')
  if (!text.isWellFormed()) throw refuse('has a lone surrogate in a string')
}

const QUOTE = 0x22
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Depth and duplicate names, of a text that need not be valid JSON. */
function checkStructure(text: string): void {
  const names: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      if (names.push(undefined) > MAX_DEPTH) throw refuse(`nests deeper than ${MAX_DEPTH} levels`)
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) names.pop()
    else if (code === QUOTE) {
      const end = endOfString(text, at)
      const next = afterSpaces(text, end + 1)
      if (text.charCodeAt(next) === COLON && names.length > 0) {
        const name = text.slice(at + 1, end)
        const decoded = name.includes('\\') ? (parse(`"${name}"`) as string) : name
        const level = names.length - 1
        const members = names[level] ?? new Set()
        if (members.has(decoded)) throw refuse(`names the member '${decoded.slice(0, 50)}' twice`)
        names[level] = members.add(decoded)
      }
      at = next - 1
    }
  }
}

/** The quote that ends a string: one after an even number of backslashes. Of a string that never ends, the end of the text. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let before = quote - 1
    while (text.charCodeAt(before) === BACKSLASH) before--
    if ((quote - before) % 2 === 1) return quote
  }
  return text.length
}

function afterSpaces(text: string, start: number): number {
  let at = start
  while (at < text.length && ' \t\n\r'.includes(text.charAt(at))) at++
  return at
}
