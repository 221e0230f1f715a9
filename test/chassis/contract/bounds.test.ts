import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { parsePart, strict } from '../../../services/chassis/contract/contract.ts'
import type { Failure } from '../../../services/chassis/contract/failure.ts'

const looked = vi.fn(() => true)
const line = strict({ sku: z.string().refine(looked).meta({ maxLength: 4 }), quantity: z.int() })
const schema = strict({ note: z.string().refine(looked).meta({ maxLength: 10 }).optional(), lines: z.array(line).min(1).max(3) })

const good = { sku: 'a', quantity: 1 }

function errorsOf(value: unknown) {
  looked.mockClear()
  try {
    parsePart('body', schema, value)
    return []
  } catch (error) {
    return (error as Failure).options.extra?.errors as { field: string; message: string }[]
  }
}

describe('the sizes of a request', () => {
  test.each([
    ['a text', { note: 'a'.repeat(41), lines: [good] }, 'body.note', 'is longer than 10 characters'],
    ['a text in a list', { lines: [good, { ...good, sku: 'a'.repeat(17) }] }, 'body.lines.1.sku', 'is longer than 4 characters'],
    ['a list', { lines: Array(4).fill(good) }, 'body.lines', 'has more than 3 elements'],
  ])('of %s are judged before anything of the schema runs', (_name, value, field, message) => {
    expect(errorsOf(value)).toEqual([{ field, message }])
    expect(looked).not.toHaveBeenCalled()
  })

  test('leave the exact count of characters to the schema: one may be four units long before it is composed', () => {
    expect(errorsOf({ note: 'a'.repeat(40), lines: [{ ...good, sku: 'a'.repeat(16) }] })).toEqual([])
    expect(looked).toHaveBeenCalledTimes(2)
  })

  test('of a list that is too long keep its elements from being looked at', () => {
    expect(errorsOf({ lines: Array(20_000).fill({}) })).toEqual([{ field: 'body.lines', message: 'has more than 3 elements' }])
  })

  test('name the first 20 of many unknown members', () => {
    const many = Object.fromEntries(Array.from({ length: 6_500 }, (_, n) => [`m${n}`, 1]))
    const errors = errorsOf({ ...many, lines: [good] })
    expect(errors).toHaveLength(20)
    expect(errors[0]).toEqual({ field: 'body.m0', message: 'is not a known field' })
    expect(looked).not.toHaveBeenCalled()
  })

  test('leave a few unknown members to be named with all else that is wrong', () => {
    expect(
      errorsOf({ colour: 'red', lines: [{ sku: 'a' }] })
        .map(({ field }) => field)
        .toSorted(),
    ).toEqual(['body.colour', 'body.lines.0.quantity'])
  })

  test('name at most 20 wrong places', () => {
    const wide = strict({ lines: z.array(line).max(100) })
    try {
      parsePart('body', wide, { lines: Array(50).fill({ sku: 7 }) })
      expect.unreachable()
    } catch (error) {
      expect((error as Failure).options.extra?.errors).toHaveLength(20)
      expect((error as Failure).message.length).toBeLessThanOrEqual(1_000)
    }
  })
})
