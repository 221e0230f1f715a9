const BLOCK_BYTES = 16_384
/** As long as this a piece is worth an object of its own. */
const LARGE_BYTES = 1_024

export interface Pieces {
  add(piece: Buffer): void
  /** All of them in their order. */
  whole(): Buffer
  /** Objects that they are kept in. */
  count(): number
}

/** Puts bytes together that come in pieces. Small ones are copied side by side: kept as it came, a single byte takes a hundred. */
export function createPieces(): Pieces {
  const pieces: Buffer[] = []
  let block = Buffer.alloc(0)
  let from = 0
  let to = 0
  const flush = () => {
    if (to > from) pieces.push(block.subarray(from, to))
    from = to
  }
  return {
    add: piece => {
      if (piece.length >= LARGE_BYTES) {
        flush()
        pieces.push(piece)
        return
      }
      if (block.length - to < piece.length) {
        flush()
        block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
        from = to = 0
      }
      to += piece.copy(block, to)
    },
    whole: () => {
      flush()
      return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
    },
    count: () => pieces.length + 1,
  }
}
