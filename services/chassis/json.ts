import { invalidRequest } from './problem.ts'

/** Levels of objects and arrays that a request body may nest. */
const MAX_DEPTH = 16

/**
 * Parses a JSON text as I-JSON (RFC 7493) asks: valid UTF-8, no duplicate member names, no lone surrogates, no number beyond a
 * double; besides no NUL (Postgres cannot store one) and at most 16 levels.
 * @throws ProblemError 400 `invalid-request`
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  const text = decode(bytes)
  // Depth comes first: JSON.parse recurses.
  checkStructure(text)
  try {
    return JSON.parse(text, (key, value) => {
      checkText(key)
      if (typeof value === 'string') checkText(value)
      if (typeof value === 'number' && !Number.isFinite(value)) throw refuse('has a number larger than a double holds')
      return value
    })
  } catch (error) {
    if (error instanceof SyntaxError) throw refuse('is not valid JSON')
    throw error
  }
}

const refuse = (message: string) => invalidRequest([{ field: 'body', message }])

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw refuse('is not valid UTF-8')
  }
}

function checkText(text: string): void {
  if (text.includes('\0')) throw refuse('has a NUL character in a string')
  if (!text.isWellFormed()) throw refuse('has a lone surrogate in a string')
}

// One token a match: a string with the colon that makes it a member name, or a bracket. A string that never ends takes all that
// is left: without a match the search would start again at each of its escaped quotes.
const TOKEN = /"([^"\\]*(?:\\.[^"\\]*)*)(?:"(\s*:)?|\\?$)|[{}[\]]/gs

function checkStructure(text: string): void {
  const names: (Set<string> | undefined)[] = []
  for (const [token, name, colon] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      names.push(token === '{' ? new Set() : undefined)
      if (names.length > MAX_DEPTH) throw refuse(`nests deeper than ${MAX_DEPTH} levels`)
    } else if (token === '}' || token === ']') {
      names.pop()
    } else if (colon !== undefined && name !== undefined) {
      const members = names.at(-1)
      const decoded = name.includes('\\') ? unescapeName(name) : name
      if (members?.has(decoded)) throw refuse(`names the member '${decoded.slice(0, 50)}' twice`)
      members?.add(decoded)
    }
  }
}

function unescapeName(name: string): string {
  try {
    return JSON.parse(`"${name}"`)
  } catch {
    throw refuse('is not valid JSON')
  }
}
