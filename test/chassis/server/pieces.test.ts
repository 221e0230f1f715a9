import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createPieces } from '../../../services/chassis/server/pieces.ts'

const piece = fc.oneof(fc.uint8Array({ maxLength: 8 }), fc.uint8Array({ minLength: 1_000, maxLength: 1_050 })).map(bytes => Buffer.from(bytes))

test('gives the bytes back as they came', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), all => {
      const pieces = createPieces()
      for (const one of all) pieces.add(one)
      expect(pieces.whole().equals(Buffer.concat(all))).toBe(true)
    }),
  )
})

test('keeps single bytes side by side, whatever comes between them', () => {
  const pieces = createPieces()
  for (let n = 0; n < 65_536; n++) pieces.add(Buffer.from([n % 251]))
  expect(pieces.count()).toBeLessThanOrEqual(5)
  for (let n = 0; n < 10; n++) {
    pieces.add(Buffer.alloc(2_000))
    pieces.add(Buffer.from([n]))
  }
  expect(pieces.count()).toBeLessThanOrEqual(26)
  expect(pieces.whole()).toHaveLength(65_536 + 20_010)
})
