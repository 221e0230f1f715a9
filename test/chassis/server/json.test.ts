import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Failure } from '../../../services/chassis/contract/failure.ts'
import { parseStrictJson } from '../../../services/chassis/server/json.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const parse = (text: string) => parseStrictJson(bytes(text))

const refusal = (parse: () => unknown): string => {
  try {
    parse()
  } catch (error) {
    expect(error).toBeInstanceOf(Failure)
    expect(error).toMatchObject({ kind: 'invalid', code: 'invalid-request' })
    return (error as Failure).message
  }
  return 'taken'
}

const nest = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)

describe('parseStrictJson', () => {
  test.each([
    ['an object', '{"a":[1,"b",null,true]}', { a: [1, 'b', null, true] }],
    ['a bare value', ' 7 ', 7],
    ['the same name in two objects', '[{"a":1},{"a":2}]', [{ a: 1 }, { a: 2 }]],
    ['the same name in an object and the one in it', '{"a":{"a":1}}', { a: { a: 1 } }],
    ['a name again after an inner object', '{"a":{"b":1},"b":2}', { a: { b: 1 }, b: 2 }],
    ['a value that equals a name', '{"a":"a","b":"a"}', { a: 'a', b: 'a' }],
    ['the same string twice in an array', '["a","a"]', ['a', 'a']],
    ['16 levels', nest(16), JSON.parse(nest(16))],
    ['brackets in a string', `{"a":"${'[{'.repeat(40)}"}`, { a: '[{'.repeat(40) }],
    ['brackets in a name', `{"${'['.repeat(40)}":1}`, { ['['.repeat(40)]: 1 }],
    ['an escaped quote before a bracket', '["\\"[[[[[[[[[[[[[[[[["]', ['"[[[[[[[[[[[[[[[[[']],
    ['an escaped backslash at the end of a string', '{"a":"\\\\","b":1}', { a: '\\', b: 1 }],
    ['a colon in a string', '{"a":"\\"a\\":"}', { a: '"a":' }],
    ['a pair of surrogates', '"\\ud83d\\ude00"', '😀'],
    ['many levels one after the other', `[${Array(100).fill('[[]]').join(',')}]`, Array(100).fill([[]])],
    ['an integer beyond 2^53, as the nearest double', '9007199254740993', 9007199254740992],
    ['a number too small for a double, as zero', '1e-400', 0],
  ])('takes %s', (_name, text, value) => {
    expect(parse(text)).toEqual(value)
  })

  test.each([
    ['a name twice', '{"a":1,"a":2}', "names the member 'a' twice"],
    ['a name twice, once with an escape', '{"a":1,"\\u0061":2}', "names the member 'a' twice"],
    ['a name twice with different escapes', '{"\\/":1,"\\u002f":2}', "names the member '/' twice"],
    ['a name twice, deep inside', '{"x":[{"y":{"a":1,"b":2,"a":3}}]}', "names the member 'a' twice"],
    ['a name twice with white space before the colon', '{"a" :1,"a"\n\t:2}', "names the member 'a' twice"],
    ['the empty name twice', '{"":1,"":2}', "names the member '' twice"],
    ['__proto__ twice', '{"__proto__":1,"__proto__":2}', "names the member '__proto__' twice"],
    ['17 levels', nest(17), 'nests deeper than 16 levels'],
    ['17 levels of objects', '{"a":'.repeat(17) + 1 + '}'.repeat(17), 'nests deeper than 16 levels'],
    ['100,000 brackets', '['.repeat(100_000), 'nests deeper than 16 levels'],
    ['a NUL in a value', '{"a":"\\u0000"}', 'has a NUL character in a string'],
    ['a NUL in a name', '{"a\\u0000":1}', 'has a NUL character in a string'],
    ['a high surrogate alone', '["\\ud800"]', 'has a lone surrogate in a string'],
    ['a low surrogate alone', '["\\udfff"]', 'has a lone surrogate in a string'],
    ['a pair the wrong way round', '["\\udc00\\ud800"]', 'has a lone surrogate in a string'],
    ['a lone surrogate in a name', '{"\\ud800":1}', 'has a lone surrogate in a string'],
    ['a number beyond a double', '{"a":[1e400]}', 'has a number larger than a double holds'],
    ['a negative number beyond a double', '-1e400', 'has a number larger than a double holds'],
    ['a byte order mark', '\ufeff{}', 'is not valid JSON'],
    ['nothing', '', 'is not valid JSON'],
    ['white space', ' ', 'is not valid JSON'],
    ['two values', '{} {}', 'is not valid JSON'],
    ['a trailing comma', '[1,]', 'is not valid JSON'],
    ['a comment', '{}//', 'is not valid JSON'],
    ['NaN', 'NaN', 'is not valid JSON'],
    ['single quotes', "{'a':1}", 'is not valid JSON'],
    ['a control character in a string', '"a\nb"', 'is not valid JSON'],
    ['an unknown escape in a name', '{"\\x":1}', 'is not valid JSON'],
    ['a closing bracket too many', '[]]', 'is not valid JSON'],
    ['a string without an end', '{"a":"b', 'is not valid JSON'],
    ['a backslash at the end', '"\\', 'is not valid JSON'],
  ])('refuses %s', (_name, text, message) => {
    expect(refusal(() => parse(text))).toBe(`body ${message}`)
  })

  test.each([
    ['a stray continuation byte', [0x22, 0x80, 0x22]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['an encoded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a character cut off', [0x22, 0xe2, 0x82]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
  ])('refuses %s', (_name, values) => {
    expect(refusal(() => parseStrictJson(Uint8Array.from(values)))).toBe('body is not valid UTF-8')
  })

  test('a long name that comes twice is told in part', () => {
    const name = 'n'.repeat(1_000)
    expect(refusal(() => parse(`{"${name}":1,"${name}":2}`))).toBe(`body names the member '${name.slice(0, 50)}' twice`)
  })

  test('the time for a string without an end grows with its length, not with its square', () => {
    const spent = (quotes: number) => {
      const text = bytes(`"${'\\"'.repeat(quotes)}`)
      const startedAt = performance.now()
      refusal(() => parseStrictJson(text))
      return performance.now() - startedAt
    }
    spent(1_000)
    // Milliseconds; with the square of the length it would be half an hour.
    expect(spent(1_000_000)).toBeLessThan(10_000)
  })

  test('a __proto__ member is a member like any other', () => {
    const parsed = parse('{"__proto__":{"admin":true}}') as { admin?: boolean }
    expect(Object.keys(parsed)).toEqual(['__proto__'])
    expect(parsed.admin).toBeUndefined()
  })

  test('gives back whatever JSON.stringify wrote', () => {
    const text = fc.string({ unit: 'grapheme' }).map(value => value.toWellFormed().replaceAll('\0', ''))
    const { value } = fc.letrec<{ value: unknown }>(tie => ({
      value: fc.oneof(
        { maxDepth: 12, withCrossShrink: true },
        text,
        fc.double({ noNaN: true, noDefaultInfinity: true }).map(number => (number === 0 ? 0 : number)),
        fc.constantFrom(null, true, false),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(text, tie('value'), { maxKeys: 4 }),
      ),
    }))
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 2, '\t'), (json, space) => {
        expect(parse(JSON.stringify(json, null, space))).toEqual(json)
      }),
      { numRuns: 500 },
    )
  })

  test('refuses or takes any bytes, and what it takes is what JSON.parse takes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 50 }), fc.string({ unit: fc.constantFrom(...'{}[]":,\\ua0 1') }).map(bytes)), input => {
        let parsed: unknown
        if (refusal(() => (parsed = parseStrictJson(input))) === 'taken') expect(parsed).toEqual(JSON.parse(new TextDecoder().decode(input)))
      }),
      { numRuns: 2_000 },
    )
  })
})
