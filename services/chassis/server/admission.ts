import type { IncomingMessage, RequestListener } from 'node:http'
import type { Logger } from 'pino'
import type { Contract } from '../contract/contract.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import { MAX_ARRIVING_BODIES } from '../contract/limits.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createLimit, type Limit } from './limit.ts'
import { createQueue, type Waiting } from './queue.ts'
import { createRefusal } from './refusal.ts'
import { createRouter } from './router.ts'

export interface AdmissionOptions {
  service: { contract: Contract } & Pick<ServiceDefinition, 'maxConcurrency' | 'slo' | 'timeoutMs'>
  metrics: Metrics
  log: Logger
  /** How long work waits for what all requests share, such as database connections, in milliseconds. @default nothing is shared */
  waitMs?: () => number
  /** @default one that adapts, between 40 and `maxConcurrency` */
  limit?: Limit
}

/** A queue that was not empty for that long stands. */
const STANDS_AFTER_MS = 100
/**
 * Refusals for each request that is begun. One costs a third of a request: the answer, and what its connection sends next. Whom they do not
 * reach goes on waiting, and sends nothing meanwhile.
 */
const REFUSED_SHARE = 0.1
/** Refusals a second while nothing is begun, as when the database hangs. */
const LEAST_REFUSED = 20
const MOST_SAVED_UP = 100
const SWEEP_MS = 10
/** A body that takes longer holds no place while it arrives. */
const SLOW_BODY_MS = 20

/** A body that is longer is not kept in any number while its request waits. */
const LONG_BODY_BYTES = 4_096

interface Admitted {
  /** When it was read, as performance.now() has it. */
  arrivedAt: number
  leave(): void
  enter(): void
}

const admitted = new WeakMap<object, Admitted>()

/** When a request was read, which is before it was begun where it had to wait; as performance.now() has it. */
export const arrivalOf = (req: object): number => admitted.get(req)?.arrivedAt ?? performance.now()

/** Gives a request's place to others while its body is slow to arrive. @returns what takes it back */
export function lendPlace(req: object): () => void {
  const place = admitted.get(req)
  if (!place) return () => {}
  let lent = false
  const timer = setTimeout(() => {
    lent = true
    place.leave()
  }, SLOW_BODY_MS)
  return () => {
    clearTimeout(timer)
    if (lent) place.enter()
  }
}

/**
 * Begins as many requests as a limit allows that adapts to queueing. The others wait, read and not begun, so that their connections
 * send nothing more; the queue says which is begun next. Who has waited for half of the latency objective is answered 503 `overloaded`: one
 * for ten that are begun, all while there is room, and whoever has waited for as long as a request may take.
 */
export function createAdmission(options: AdmissionOptions): (handler: RequestListener) => RequestListener {
  const { service, metrics, waitMs = () => 0 } = options
  const limit = options.limit ?? createLimit({ ceiling: service.maxConcurrency, waitMs })
  const match = createRouter(service.contract)
  const refusal = createRefusal(options)
  const { thresholdMs } = service.slo.latency
  // The other half is for the work: what comes later than the objective is no good answer.
  const queue = createQueue({ patienceMs: thresholdMs / 2, standsAfterMs: Math.min(STANDS_AFTER_MS, thresholdMs / 4) })
  let begun = 0
  let longBodies = 0
  let refusals = 0
  let sweptAt = performance.now()
  let sweeper: NodeJS.Timeout | undefined
  let handle: RequestListener = () => {}
  metrics.gaugeOf('http_server_waiting_requests', 'Requests that are read and wait to be begun', queue.size)
  metrics.gaugeOf('http_server_concurrency_limit', 'Requests that may be in flight before others wait', limit.current)

  const begin = ({ req, res, since }: Pick<Waiting, 'req' | 'res' | 'since'>) => {
    let inside = false
    let over = false
    const place: Admitted = {
      arrivedAt: since,
      enter: () => {
        if (inside || over) return
        inside = true
        begun++
      },
      leave: () => {
        if (!inside) return
        inside = false
        begun--
        if (queue.size() > 0) schedule()
      },
    }
    refusals += REFUSED_SHARE
    admitted.set(req, place)
    place.enter()
    limit.use(begun)
    const end = () => {
      place.leave()
      over = true
    }
    Promise.resolve(handle(req, res) as unknown).then(end, end)
  }

  let scheduled = false
  /** Once a turn of the event loop: what is answered without waiting for anything would otherwise keep it from turning. */
  const schedule = () => {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      pump()
    })
  }
  const pump = () => {
    const now = performance.now()
    while (queue.size() > 0 && begun < limit.current()) {
      const found = queue.next(now)
      if (!found) break
      left(found)
      begin(found)
    }
  }

  /** Nobody waits longer than a request may take, and a pod with room has time to refuse. */
  const mayRefuse = ({ since }: Waiting, now: number) => refusals >= 1 || now - since >= service.timeoutMs || begun < limit.current()

  const sweep = () => {
    limit.use(begun)
    pump()
    const now = performance.now()
    refusals = Math.min(refusals + ((now - sweptAt) / 1_000) * LEAST_REFUSED, MOST_SAVED_UP)
    sweptAt = now
    const isDue = (late: Waiting) => mayRefuse(late, now)
    queue.takeLate(now, isDue, late => {
      left(late)
      refusal.refuse(late, now, 'queue')
      refusals = Math.max(0, refusals - 1)
    })
  }

  const wait = (waiting: Waiting) => {
    const { req, res, since } = waiting
    if (isLong(req) && longBodies >= MAX_ARRIVING_BODIES) {
      refusal.refuse(waiting, since, 'waiting-body')
      return
    }
    if (queue.size() === 0) {
      sweptAt = since
      sweeper = setInterval(sweep, SWEEP_MS)
    }
    if (isLong(req)) longBodies++
    const leave = queue.join(waiting)
    res.once('close', () => {
      // It may be begun or answered.
      if (!leave()) return
      left(waiting)
      const now = performance.now()
      refusal.gone(waiting, now, queue.isLate(waiting, now))
    })
    if (begun < limit.current()) schedule()
  }
  const left = ({ req }: Waiting) => {
    if (isLong(req)) longBodies--
    if (queue.size() === 0) clearInterval(sweeper)
  }

  return handler => {
    handle = handler
    return (req, res) => {
      const since = performance.now()
      if (queue.size() === 0 && begun < limit.current()) begin({ req, res, since })
      else wait({ req, res, since, match: match(req.method ?? '', pathOf(req.url ?? '')) })
    }
  }
}

/** Bytes come with the head, before anybody wants them; of what says no length they may be many. */
const isLong = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > LONG_BODY_BYTES

const pathOf = (url: string) => {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}
