import { describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { system } from '../../infra/system.ts'
import { type Operation, parsePart } from '../../services/chassis/contract/contract.ts'
import { Failure } from '../../services/chassis/contract/failure.ts'
import { parseStrictJson } from '../../services/chassis/server/json.ts'

const BYTES = 65_536
/** How many times as long as a plain body of the same size, made of ordinary members: what quadratic time takes is hundreds. */
const MOST = 30

const fill = (piece: string) => piece.repeat(Math.ceil(BYTES / Buffer.byteLength(piece)))

/** Texts that make patterns with two ways to match go back and forth, and normalization sort. */
const TEXTS: Record<string, string> = {
  letters: fill('a'),
  'letters before a control character': `${fill('a')}\u0001`,
  'spaces before the end': `${fill(' ')}\u0001`,
  'spaces around a control character': `${fill(' ').slice(BYTES / 2)}\u0001${fill(' ').slice(BYTES / 2)}`,
  'combining marks in two classes': `a${fill('\u0315\u0300')}`,
  'many labels': `a@${fill('a.')}`,
  'one long label': `a@${fill('a-')}`,
  dots: fill('.'),
  'at signs': fill('@'),
  'composed and decomposed': fill('e\u0301'),
  quotes: fill('\\"'),
}

/** Bodies that are wrong as a whole. */
const BODIES: Record<string, string> = {
  'empty objects in a list': `[${fill('{},').slice(0, -1)}]`,
  'unknown members': `{${Array.from({ length: 6_500 }, (_, n) => `"m${n}":1`).join(',')}}`,
  'one unknown member with a long name': `{"${fill('n')}":1}`,
  'numbers in a list': `[${fill('1,').slice(0, -1)}]`,
  'escaped quotes without an end': `"${fill('\\"')}`,
  'empty lists in a list': `[${fill('[],').slice(0, -1)}]`,
}

/** Every text and list in the body's example, as the body with that place filled by `value`. */
function* places(
  example: unknown,
  put: (value: unknown) => unknown = value => value,
  path = 'body',
): Generator<[string, (value: unknown) => unknown]> {
  yield [path, put]
  if (Array.isArray(example)) yield* places(example[0], value => put([value]), `${path}.0`)
  else if (typeof example === 'object' && example !== null)
    for (const [name, member] of Object.entries(example)) yield* places(member, value => put({ ...example, [name]: value }), `${path}.${name}`)
}

const receive = ({ body }: Operation, bytes: Uint8Array) => {
  try {
    parsePart('body', body as z.ZodType, parseStrictJson(bytes))
  } catch (error) {
    if (!(error instanceof Failure)) throw error
  }
}

const tenths = (ratio: number) => Math.round(ratio * 10) / 10

/** The best of several, in milliseconds: what others on the machine do only adds. */
function spent(work: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let n = 0; n < 7; n++) {
    const startedAt = performance.now()
    work()
    best = Math.min(best, performance.now() - startedAt)
  }
  return best
}

const operations = system.services.flatMap(({ name, contract }) =>
  Object.entries<Operation>(contract).flatMap(([id, operation]) => (operation.body ? [[`${name}.${id}`, operation] as const] : [])),
)

describe.each(operations)('the body of %s', (_name, operation) => {
  const member = JSON.stringify({ sku: 'airpods-4', quantity: 1, name: 'AirPods 4' })
  const plain = new TextEncoder().encode(`{"items":[${fill(`${member},`).slice(0, -1)}]}`)
  const times = (json: string) => {
    const bytes = new TextEncoder().encode(json)
    return spent(() => receive(operation, bytes)) / spent(() => receive(operation, plain))
  }

  test('takes time in proportion to its size, whatever a text in it holds', () => {
    const slow = [...places(operation.bodyExample)].flatMap(([path, put]) =>
      Object.entries(TEXTS).map(([shape, text]) => [`${path}: ${shape}`, tenths(times(JSON.stringify(put(text))))] as const),
    )
    expect(slow.length).toBeGreaterThan(9)
    expect(slow.filter(([, ratio]) => ratio > MOST)).toEqual([])
  })

  test('takes time in proportion to its size, whatever it consists of', () => {
    const slow = [...places(operation.bodyExample)].flatMap(([path, put]) =>
      Object.entries(BODIES).map(([shape, json]) => {
        const marked = JSON.stringify(put('PLACE'))
        return [`${path}: ${shape}`, tenths(times(marked.replace('"PLACE"', () => json)))] as const
      }),
    )
    expect(slow.filter(([, ratio]) => ratio > MOST)).toEqual([])
  })
})
