/** A box, or the place where an arrow passes a column. */
export interface Cell {
  column: number
  width: number
  /** How far it reaches up and down from `y`, where arrows meet it. */
  above: number
  below: number
  y: number
  /** What arrows at its sides may spread over; 0 where an arrow passes. */
  side: number
  ins: Joint[]
  outs: Joint[]
}

/** A piece of an arrow, between neighbouring columns; the ends are offsets from the `y` of their cells. */
export interface Joint {
  from: Cell
  to: Cell
  leaves: number
  enters: number
}

const GAP = 22
const PORT_GAP = 18

export const climbOf = ({ from, to, leaves, enters }: Joint): number => to.y + enters - from.y - leaves

/** What levelling aims at: little climb in all, or little and gathered in few bends. */
type Aim = 'climb' | 'bends'

/** Least squares that are weighed anew by what they left end with the least climb, and with few bends when that weighs twice. */
function weightOf(joint: Joint, aim: Aim): number {
  const long = joint.from.side === 0 && joint.to.side === 0
  const left = 1 + Math.abs(climbOf(joint))
  return (long ? 4 : 1) / (aim === 'climb' ? left : left * left)
}

/** Where joints of a cell would be level, and how much that weighs. */
function wishOf(cell: Cell, joints: readonly Joint[], aim: Aim): { y: number; weight: number } {
  const weight = joints.reduce((sum, joint) => sum + weightOf(joint, aim), 0)
  const pull = joints.reduce((sum, joint) => sum + weightOf(joint, aim) * climbOf(joint) * (joint.from === cell ? 1 : -1), 0)
  return { y: cell.y + pull / weight, weight }
}

/**
 * Moves the cells of a column, in their order and with gaps between them, to where these joints of theirs are most level
 * (pool adjacent violators: de Leeuw, Hornik and Mair, "Isotone Optimization in R", 2009).
 */
export function settle(column: readonly Cell[], jointsOf: (cell: Cell) => readonly Joint[], aim: Aim = 'climb'): void {
  const pools: { sum: number; weight: number; members: { cell: Cell; offset: number }[] }[] = []
  let offset = 0
  for (const [i, cell] of column.entries()) {
    const previous = column[i - 1]
    if (previous) offset += previous.below + GAP + cell.above
    const { y, weight } = wishOf(cell, jointsOf(cell), aim)
    let pool = { sum: (y - offset) * weight, weight, members: [{ cell, offset }] }
    for (let last = pools.at(-1); last && last.sum / last.weight >= pool.sum / pool.weight; last = pools.at(-1)) {
      pools.pop()
      pool = { sum: last.sum + pool.sum, weight: last.weight + pool.weight, members: [...last.members, ...pool.members] }
    }
    pools.push(pool)
  }
  for (const { sum, weight, members } of pools) for (const member of members) member.cell.y = sum / weight + member.offset
  for (const cell of column) spread(cell)
}

/** Puts cells below all of a column. */
export function stack(column: readonly Cell[], below: readonly Cell[]): void {
  const last = column.at(-1)
  let bottom = last ? last.y + last.below + GAP : 0
  for (const cell of below) {
    cell.y = bottom + cell.above
    bottom = cell.y + cell.below + GAP
  }
}

/** Lets the arrows at each side of a cell begin and end in the order of their other ends, so that they do not cross there. */
function spread(cell: Cell): void {
  const offset = (i: number, count: number) => (count < 2 ? 0 : (i - (count - 1) / 2) * Math.min(PORT_GAP, cell.side / (count - 1)))
  for (const [i, joint] of cell.ins.sort((a, b) => a.from.y - b.from.y).entries()) joint.enters = offset(i, cell.ins.length)
  for (const [i, joint] of cell.outs.sort((a, b) => a.to.y - b.to.y).entries()) joint.leaves = offset(i, cell.outs.length)
}
