import { arrange } from './order.ts'
import { type Cell, climbOf, type Joint } from './settle.ts'

export interface Node {
  id: string
  width: number
  height: number
  /** Height of what hangs below the box and belongs to it. @default 0 */
  hangs?: number
  /** @default 0 */
  minRank?: number
}

export interface Link {
  from: string
  to: string
  labelWidth: number
}

export interface Rect {
  x: number
  y: number
  width: number
  height: number
}

/** A way from the right side of one box to the left side of another. */
export interface Route {
  /** Left to right, each with level ends; between them it is straight. */
  bends: readonly { x1: number; y1: number; x2: number; y2: number }[]
  /** Middle of the label, which the way crosses. */
  label: { x: number; y: number }
}

export interface Layout {
  width: number
  height: number
  boxes: ReadonlyMap<string, Rect>
  /** In the order of the links. */
  routes: readonly Route[]
}

const LABEL_HEIGHT = 36
const PASS_HEIGHT = 8
const SIDE_MARGIN = 20
const BEND = { minWidth: 44, maxWidth: 84, slope: 0.3 }

/** Length of the longest way to each node. @throws Error naming the nodes of a cycle */
function ranksOf(nodes: readonly Node[], links: readonly Link[]): Map<string, number> {
  const ranks = new Map<string, number>()
  const visit = (node: Node, path: readonly string[]): number => {
    if (path.includes(node.id)) throw new Error(`a cycle: ${[node.id, ...path.slice(0, path.indexOf(node.id) + 1)].join(' -> ')}`)
    const callers = nodes.filter(({ id }) => links.some(({ from, to }) => from === id && to === node.id))
    const rank = ranks.get(node.id) ?? Math.max(node.minRank ?? 0, ...callers.map(caller => visit(caller, [node.id, ...path]) + 1))
    ranks.set(node.id, rank)
    return rank
  }
  for (const node of nodes) visit(node, [])
  return ranks
}

const newCell = (column: number, width: number, above: number, below = above, side = 0): Cell => {
  return { column, width, above, below, side, y: 0, ins: [], outs: [] }
}

const newBox = (column: number, { width, height, hangs = 0 }: Node): Cell =>
  newCell(column, width, height / 2, height / 2 + hangs, height - SIDE_MARGIN)

/** Where a link passes between the columns of its ends, the last place with the label. */
const newPassage = ({ labelWidth }: Link, from: Cell, to: Cell): Cell[] =>
  Array.from({ length: to.column - from.column - 1 }, (_, i) => from.column + 1 + i).map(column =>
    column === to.column - 1 ? newCell(column, labelWidth, LABEL_HEIGHT / 2) : newCell(column, 0, PASS_HEIGHT / 2),
  )

function newJoints(cells: readonly Cell[]): Joint[] {
  const joints = cells.slice(1).map((to, i): Joint => ({ from: cells[i] as Cell, to, leaves: 0, enters: 0 }))
  for (const joint of joints) {
    joint.from.outs.push(joint)
    joint.to.ins.push(joint)
  }
  return joints
}

/** Where columns are; two are further apart where arrows climb more between them. */
function spansOf(columns: readonly Cell[][]): { x1: number; x2: number }[] {
  let x = 0
  return columns.map(column => {
    const x1 = x
    const x2 = x1 + Math.max(0, ...column.map(({ width }) => width))
    const bends = column.flatMap(({ outs }) => outs.map(joint => BEND.slope * Math.abs(climbOf(joint))))
    x = Math.round(x2 + Math.min(BEND.maxWidth, Math.max(BEND.minWidth, ...bends)))
    return { x1, x2 }
  })
}

/**
 * Layers an acyclic graph from left to right: boxes are in even columns, each as wide as its column, and labels in odd ones, next to the
 * callee. An arrow has a cell of its own in each column that it passes, hence runs through no box and no other's label.
 * @throws Error naming the nodes of a cycle
 */
export function layOut(nodes: readonly Node[], links: readonly Link[]): Layout {
  const ranks = ranksOf(nodes, links)
  const boxes = new Map(nodes.map(node => [node.id, newBox(2 * (ranks.get(node.id) ?? 0), node)]))
  const boxOf = (id: string) => boxes.get(id) as Cell
  const chains = links.map(link => [boxOf(link.from), ...newPassage(link, boxOf(link.from), boxOf(link.to)), boxOf(link.to)])
  const arrows = chains.map(newJoints)
  const cells = [...chains.flatMap(chain => chain.slice(1, -1)), ...boxes.values()]
  const columns = Array.from({ length: Math.max(0, ...cells.map(({ column }) => column + 1)) }, (_, i) => cells.filter(({ column }) => column === i))
  arrange(columns)

  const spans = spansOf(columns)
  const spanOf = ({ column }: Cell) => spans[column] as { x1: number; x2: number }
  const top = Math.min(...cells.map(({ y, above }) => y - above))
  const down = (y: number) => Math.round(y - top)
  const bend = ({ from, to, leaves, enters }: Joint) => {
    return { x1: spanOf(from).x2, y1: down(from.y + leaves), x2: spanOf(to).x1, y2: down(to.y + enters) }
  }
  const middle = (label: Cell) => ({ x: (spanOf(label).x1 + spanOf(label).x2) / 2, y: down(label.y) })
  const rect = (cell: Cell, height: number) => {
    const { x1, x2 } = spanOf(cell)
    return { x: x1, y: down(cell.y) - height / 2, width: x2 - x1, height }
  }
  return {
    width: spans.at(-1)?.x2 ?? 0,
    height: Math.max(0, ...cells.map(({ y, below }) => down(y) + below)),
    boxes: new Map(nodes.map(({ id, height }) => [id, rect(boxOf(id), height)])),
    routes: arrows.map((joints, i) => ({ bends: joints.map(bend), label: middle(chains[i]?.at(-2) as Cell) })),
  }
}
