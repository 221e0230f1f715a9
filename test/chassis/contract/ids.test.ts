import { afterEach, describe, expect, test, vi } from 'vitest'
import { id, newId } from '../../../services/chassis/contract/ids.ts'

const ID = '0193a0c2-7b11-7a44-8f0e-2d3c4b5a6978'

describe('newId', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  test('makes UUIDv7s that sort in the order in which they were made', () => {
    const made = Array.from({ length: 10_000 }, newId)
    expect(made).toEqual([...made].sort())
    expect(new Set(made).size).toBe(made.length)
    for (const one of made) expect(id.safeParse(one).success).toBe(true)
  })

  test('goes on in order when the clock is set back', () => {
    vi.useFakeTimers()
    vi.setSystemTime(new Date('2027-01-01T00:00:10Z'))
    const before = newId()
    vi.setSystemTime(new Date('2027-01-01T00:00:00Z'))
    expect(newId() > before).toBe(true)
  })
})

describe('id', () => {
  test('takes a UUIDv7 in lower case', () => {
    expect(id.parse(ID)).toBe(ID)
  })

  test.each([
    ['upper case', ID.toUpperCase()],
    ['a UUIDv4', '0193a0c2-7b11-4a44-8f0e-2d3c4b5a6978'],
    ['another variant', '0193a0c2-7b11-7a44-cf0e-2d3c4b5a6978'],
    ['no dashes', ID.replaceAll('-', '')],
    ['braces', `{${ID}}`],
    ['a line end', `${ID}\n`],
    ['white space', ` ${ID}`],
    ['a character less', ID.slice(1)],
    ['the nil UUID', '00000000-0000-0000-0000-000000000000'],
    ['nothing', ''],
  ])('refuses %s', (_name, text) => {
    expect(id.safeParse(text).error?.issues[0]?.message).toBe('is not a UUIDv7 in lower case')
  })
})
