import { performance as ofProcess } from 'node:perf_hooks'

export interface Limit {
  current(): number
  /** Says how many are in flight: a limit that is reached grows faster. */
  use(inFlight: number): void
}

export interface LimitOptions {
  /** @default 40, four times a pool's connections */
  floor?: number
  ceiling: number
  /** How long work waits for what is shared, in milliseconds. */
  waitMs: () => number
  /** Mean time of one turn of the event loop since it was asked before, in milliseconds. @default this process' */
  turnMs?: () => number
}

const PERIOD_MS = 100
/** A turn that takes longer has more to do than one should wait for. */
const LONG_TURN_MS = 10
/** As much again as ten statements take. */
const LONG_WAIT_MS = 20
const FLOOR = 40

/**
 * How many requests are in flight at once before others wait. Every 100 ms it shrinks, by a tenth up to a half, while turns of the event loop or waits
 * for what is shared are long, and else grows, by a tenth where it was reached and by a fiftieth where not, so
 * that one bad second is no rule for ever. It looks at queues and not at answer times, which differ by route and drift.
 */
export function createLimit({ floor = FLOOR, ceiling, waitMs, turnMs = watchTurns() }: LimitOptions): Limit {
  const least = Math.min(floor, ceiling)
  let limit = ceiling
  let most = 0
  let judgedAt = performance.now()
  /** No timer: an idle process has nothing to judge. */
  const judge = (now: number) => {
    judgedAt = now
    const times = Math.max(turnMs() / LONG_TURN_MS, waitMs() / LONG_WAIT_MS)
    if (times > 1) limit = Math.max(least, limit * Math.min(0.9, Math.max(0.5, 1 / times)))
    else limit = Math.min(ceiling, limit * (most >= 0.9 * limit ? 1.1 : 1.02))
    most = 0
  }
  return {
    current: () => Math.floor(limit),
    use: inFlight => {
      if (inFlight > most) most = inFlight
      const now = performance.now()
      if (now - judgedAt >= PERIOD_MS) judge(now)
    },
  }
}

/** The time that the loop was busy, by the turns that it took. */
function watchTurns(): () => number {
  const turns = () => ofProcess.nodeTiming.uvMetricsInfo.loopCount
  let lastTurns = turns()
  let last = ofProcess.eventLoopUtilization()
  return () => {
    const now = ofProcess.eventLoopUtilization()
    const { active } = ofProcess.eventLoopUtilization(now, last)
    const count = turns() - lastTurns
    last = now
    lastTurns += count
    return active / Math.max(1, count)
  }
}
