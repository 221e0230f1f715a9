import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { id, newId } from '../../../services/chassis/contract/ids.ts'
import { decodeCursor, encodeCursor, pageQuery } from '../../../services/chassis/contract/page.ts'

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const hex = (length: number, digits = '0123456789abcdef') => fc.string({ unit: fc.constantFrom(...digits), minLength: length, maxLength: length })
const uuidV7 = fc
  .tuple(hex(8), hex(4), hex(3), hex(1, '89ab'), hex(3), hex(12))
  .map(([a, b, c, variant, d, e]) => `${a}-${b}-7${c}-${variant}${d}-${e}`)

describe('encodeCursor and decodeCursor', () => {
  test('give back any UUIDv7', () => {
    fc.assert(
      fc.property(uuidV7, value => {
        expect(id.safeParse(value).success).toBe(true)
        expect(encodeCursor(value)).toMatch(/^[\w-]{22}$/)
        expect(decodeCursor(encodeCursor(value))).toBe(value)
        expect(pageQuery.parse({ cursor: encodeCursor(value) })).toEqual({ cursor: value })
      }),
      { numRuns: 1_000 },
    )
  })

  test('give back the ids that are made', () => {
    for (let i = 0; i < 1_000; i++) {
      const made = newId()
      expect(decodeCursor(encodeCursor(made))).toBe(made)
    }
  })

  test('any other text is refused, and what is taken is the one text for its UUIDv7', () => {
    const nearly = fc
      .tuple(uuidV7.map(encodeCursor), fc.nat({ max: 21 }), fc.constantFrom(...BASE64URL))
      .map(([cursor, at, other]) => cursor.slice(0, at) + other + cursor.slice(at + 1))
    const shaped = fc.string({ unit: fc.constantFrom(...BASE64URL), minLength: 22, maxLength: 22 })
    fc.assert(
      fc.property(fc.oneof(nearly, shaped, fc.string(), uuidV7), cursor => {
        const decoded = decodeCursor(cursor)
        expect(pageQuery.safeParse({ cursor }).success).toBe(decoded !== undefined)
        if (decoded === undefined) return
        expect(id.safeParse(decoded).success).toBe(true)
        expect(encodeCursor(decoded)).toBe(cursor)
      }),
      { numRuns: 5_000 },
    )
  })

  const CURSOR = encodeCursor('0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978')

  test.each([
    ['nothing', ''],
    ['a UUID as it is', '0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978'],
    ['a UUIDv4', encodeCursor('0193a0c2-7b11-4a44-8f0e-2d3c4b5a6978')],
    ['another variant', encodeCursor('0193a0c2-7b11-7a44-cf0e-2d3c4b5a6978')],
    ['one character less', CURSOR.slice(1)],
    ['one character more', `${CURSOR}A`],
    ['padding', `${CURSOR}==`],
    ['a line end', `${CURSOR}\n`],
    ['bits after the last byte', `${CURSOR.slice(0, -1)}B`],
    ['plain base64', `+/${CURSOR.slice(2)}`],
    ['a space', ` ${CURSOR.slice(1)}`],
  ])('refuse %s', (_name, cursor) => {
    expect(decodeCursor(cursor)).toBeUndefined()
    expect(pageQuery.safeParse({ cursor }).error?.issues[0]?.message).toBe('is not a cursor that this service made')
  })
})

describe('pageQuery', () => {
  test.each([
    ['1', 1],
    ['9', 9],
    ['10', 10],
    ['99', 99],
    ['100', 100],
  ])('takes the limit %s', (limit, expected) => {
    expect(pageQuery.parse({ limit })).toEqual({ limit: expected })
  })

  test.each(['', '0', '00', '01', '101', '1000', '-1', '+1', '1.5', '1e1', ' 1', '1 ', '1\n', 'abc', '٣'])('refuses the limit %j', limit => {
    expect(pageQuery.safeParse({ limit }).error?.issues[0]?.message).toBe('is not a whole number from 1 to 100')
  })

  test('takes nothing and refuses anything else', () => {
    expect(pageQuery.parse({})).toEqual({})
    expect(pageQuery.safeParse({ offset: '1' }).success).toBe(false)
  })
})
