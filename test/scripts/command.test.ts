import { expect, test } from 'vitest'
import { wholeNumber } from '../../scripts/command.ts'

const workers = wholeNumber({ min: 1, max: 9 })

test.each(['0', '10', 'two', '1.5', '', ' ', '1e9', '-1'])('%j is no whole number from 1 to 9', text => {
  expect(() => workers(text)).toThrow('It takes a whole number from 1 to 9.')
})

test('a whole number within the bounds is taken', () => {
  expect([workers('1'), workers('9')]).toEqual([1, 9])
})
