import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Operation } from '../contract/contract.ts'
import { createLine, type Line } from './line.ts'
import type { Match } from './router.ts'

/** A request that has been read and not begun. */
export interface Waiting {
  req: IncomingMessage
  res: ServerResponse
  match: Match
  since: number
}

export interface QueueOptions {
  /** Who has waited for longer is late, and is not begun any more. */
  patienceMs: number
  /** A queue that was not empty for longer stands. */
  standsAfterMs: number
}

export interface Queue {
  size(): number
  /** @returns what leaves the queue; false of who has left before */
  join(waiting: Waiting): () => boolean
  /** Takes out the next to begin. */
  next(now: number): Waiting | undefined
  isLate(waiting: Waiting, now: number): boolean
  /** Takes out who is late: those first that matter least, of these the oldest. Ends a class at the first that `may` not be taken. */
  takeLate(now: number, may: (waiting: Waiting) => boolean, then: (late: Waiting) => void): void
}

/** Who goes first. */
const CLASSES = ['workload', 'user-write', 'user-read', 'anybody'] as const
/** So often one of the lower classes goes first, each in its turn: or it would stand still as long as those above it want all. */
const LOWER_FIRST = 8

interface Standing {
  of: Waiting
  leave: () => boolean
}

/**
 * Requests that wait to be begun, in classes: calls of services first, then what users write, what users read, and what anybody asks for.
 * Within a class the one that came first goes first; the one that came last while the queue stands, for it still has time.
 *
 * Sources: B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (adaptive LIFO, and CoDel for requests); B. Beyer et al., "Site
 * Reliability Engineering", 2016, chapter 21 (criticality).
 */
export function createQueue({ patienceMs, standsAfterMs }: QueueOptions): Queue {
  const lines: Line<Standing>[] = CLASSES.map(() => createLine())
  const fromLast = lines.toReversed()
  let size = 0
  let emptyAt = performance.now()
  let taken = 0
  const isLate = ({ since }: Waiting, now: number) => now - since > patienceMs
  const inOrder = () => {
    if ((taken + 1) % LOWER_FIRST !== 0) return lines
    const [highest, ...lower] = lines as [Line<Standing>, ...Line<Standing>[]]
    const first = ((taken + 1) / LOWER_FIRST) % lower.length
    return [...lower.slice(first), ...lower.slice(0, first), highest]
  }
  return {
    size: () => size,
    isLate,
    join: waiting => {
      const { req, match, since } = waiting
      const line = lines[classOf(match.operation, req.headers.authorization !== undefined)] as Line<Standing>
      if (size++ === 0) emptyAt = since
      const leave = () => {
        if (!line.leave(place)) return false
        if (--size === 0) emptyAt = performance.now()
        return true
      }
      const place = line.join({ of: waiting, leave })
      return leave
    },
    next: now => {
      const stands = now - emptyAt > standsAfterMs
      for (const line of inOrder()) {
        const found = (stands ? line.last() : line.first())?.of
        // Where the newest is late all of its line are, and wait to be refused.
        if (!found || isLate(found.of, now)) continue
        found.leave()
        taken++
        return found.of
      }
      return undefined
    },
    takeLate: (now, may, then) => {
      for (const line of fromLast)
        for (let oldest = line.first()?.of; oldest && isLate(oldest.of, now) && may(oldest.of); oldest = line.first()?.of) {
          oldest.leave()
          then(oldest.of)
        }
    },
  }
}

/** By the route, and never by what a request says of itself but that it has a token. */
function classOf(operation: Operation | undefined, hasToken: boolean): number {
  if (operation?.auth === 'workload') return CLASSES.indexOf('workload')
  // Without a token it will be refused.
  if (operation?.auth === 'user' && hasToken) return CLASSES.indexOf(operation.method === 'GET' ? 'user-read' : 'user-write')
  return CLASSES.indexOf('anybody')
}
