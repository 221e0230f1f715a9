import { type Cell, type Joint, settle, stack } from './settle.ts'

const ORDERING_SWEEPS = 24
const LEVELLING_SWEEPS = 100

const allOf = ({ ins, outs }: Cell): Joint[] => [...ins, ...outs]

const copyOf = (columns: readonly Cell[][]): Cell[][] => columns.map(column => [...column])

/** There and back through the columns, in turn. */
function sweep(columns: readonly Cell[][], times: number, visit: (column: Cell[], forward: boolean) => void, done = () => {}): void {
  for (let time = 0; time < times; time++) {
    const forward = time % 2 === 0
    for (const column of forward ? columns : columns.toReversed()) visit(column, forward)
    done()
  }
}

/** How often arrows cross, by the order alone. */
function crossings(columns: readonly Cell[][]): number {
  const rows = new Map(columns.flatMap(column => column.map((cell, i) => [cell, i] as const)))
  const row = (cell: Cell) => rows.get(cell) ?? 0
  let count = 0
  for (const column of columns) {
    const joints = column.flatMap(({ outs }) => outs)
    for (const [i, a] of joints.entries()) {
      for (const b of joints.slice(i + 1)) if ((row(a.from) - row(b.from)) * (row(a.to) - row(b.to)) < 0) count++
    }
  }
  return count
}

/** Swaps neighbours for as long as that spares crossings. */
function transpose(columns: readonly Cell[][]): void {
  let least = crossings(columns)
  for (let before = Number.POSITIVE_INFINITY; least < before; ) {
    before = least
    for (const column of columns) {
      for (let i = 1; i < column.length; i++) {
        const swap = () => column.splice(i - 1, 2, column[i] as Cell, column[i - 1] as Cell)
        swap()
        const now = crossings(columns)
        if (now < least) least = now
        else swap()
      }
    }
  }
}

/** The best order that sorting by the middle of the neighbours finds, back and forth (barycentres, by Sugiyama). */
function inOrder(columns: Cell[][]): Cell[][] {
  let best = { columns: copyOf(columns), crossings: crossings(columns) }
  const visit = (column: Cell[], forward: boolean) => {
    const middle = (cell: Cell) => {
      const others = forward ? cell.ins.map(({ from }) => from.y) : cell.outs.map(({ to }) => to.y)
      return others.length > 0 ? others.reduce((sum, y) => sum + y, 0) / others.length : cell.y
    }
    column.sort((a, b) => middle(a) - middle(b))
    settle(column, cell => {
      const side = forward ? cell.ins : cell.outs
      return side.length > 0 ? side : allOf(cell)
    })
  }
  sweep(columns, ORDERING_SWEEPS, visit, () => {
    const now = crossings(columns)
    if (now < best.crossings) best = { columns: copyOf(columns), crossings: now }
  })
  transpose(best.columns)
  return best.columns
}

/** Sets the `y` of every cell, in an order of each column that lets few arrows cross; what no arrow meets comes last. */
export function arrange(columns: readonly Cell[][]): void {
  const linked = columns.map(column => column.filter(cell => allOf(cell).length > 0))
  for (const column of linked) settle(column, allOf)
  const ordered = inOrder(linked)
  for (const aim of ['climb', 'bends'] as const) sweep(ordered, LEVELLING_SWEEPS, column => settle(column, allOf, aim))
  for (const [i, column] of columns.entries()) {
    const unlinked = column.filter(cell => allOf(cell).length === 0)
    stack(ordered[i] ?? [], unlinked)
  }
}
