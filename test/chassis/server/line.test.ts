import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createLine, type Entry } from '../../../services/chassis/server/line.ts'

test('whoever joins and leaves, those at both ends are those of a list', () => {
  const step = fc.oneof(fc.constant('join' as const), fc.nat({ max: 30 }))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), steps => {
      const line = createLine<number>()
      const places: Entry<number>[] = []
      const list: number[] = []
      for (const [n, what] of steps.entries()) {
        if (what === 'join') {
          places.push(line.join(n))
          list.push(n)
        } else {
          const place = places[what]
          if (!place) continue
          const at = list.indexOf(place.of)
          expect(line.leave(place)).toBe(at >= 0)
          if (at >= 0) list.splice(at, 1)
        }
        expect([line.first()?.of, line.last()?.of]).toEqual([list[0], list.at(-1)])
      }
      for (const expected of list) {
        const first = line.first() as Entry<number>
        expect(first.of).toBe(expected)
        line.leave(first)
      }
      expect(line.first()).toBeUndefined()
    }),
  )
})

test('who has left holds nobody who came later', () => {
  const line = createLine<number>()
  const [first] = [line.join(1), line.join(2)]
  line.leave(first)
  expect([first.before, first.after]).toEqual([undefined, undefined])
})
