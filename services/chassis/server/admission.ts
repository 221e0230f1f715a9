import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Contract, Operation } from '../contract/contract.ts'
import { overloaded } from '../contract/failure.ts'
import type { ServiceDefinition } from '../contract/graph.ts'
import { PROBLEM_CONTENT_TYPE } from '../contract/problem-document.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { labelsOf } from './convention.ts'
import { createLimit, type Limit } from './limit.ts'
import { createLine, type Entry, type Line } from './line.ts'
import { problemOf } from './problem.ts'
import { createRouter, type Match } from './router.ts'
import { SECURITY_HEADERS } from './security-headers.ts'
import { countShed } from './shed.ts'

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
const LOG_EVERY_MS = 100
/** A body that takes longer holds no place while it arrives. */
const SLOW_BODY_MS = 20

/** A request that has been read and not begun. */
interface Waiting {
  req: IncomingMessage
  res: ServerResponse
  match: Match
  since: number
}

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
 * send nothing more. When one can be begun it is of the first class that has some: calls of services, what users write, what users read,
 * what anybody asks for. Within a class the one that came first; the one that came last while the queue stands, for it still has time.
 * Who has waited for half of the latency objective is answered 503 `overloaded`: one for ten that are
 * begun, all while there is room, and whoever has waited for as long as a request may take.
 *
 * Sources: B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (adaptive LIFO, and CoDel for requests); B. Beyer et al., "Site
 * Reliability Engineering", 2016, chapter 21 (criticality).
 */
export function createAdmission(options: AdmissionOptions): (handler: RequestListener) => RequestListener {
  const { service, metrics, waitMs = () => 0 } = options
  const limit = options.limit ?? createLimit({ ceiling: service.maxConcurrency, waitMs })
  const match = createRouter(service.contract)
  const refuse = refusal(options)
  // The other half is for the work: what comes later than the objective is no good answer.
  const patienceMs = service.slo.latency.thresholdMs / 2
  const lines: Line<Waiting>[] = CLASSES.map(() => createLine())
  let waiting = 0
  let begun = 0
  let emptyAt = performance.now()
  let refusals = 0
  let sweptAt = emptyAt
  let sweeper: NodeJS.Timeout | undefined
  let handle: RequestListener = () => {}
  metrics.gaugeOf('http_server_waiting_requests', 'Requests that are read and wait to be begun', () => waiting)
  metrics.gaugeOf('http_server_concurrency_limit', 'Requests that may be in flight before others wait', limit.current)

  const standsAfterMs = Math.min(STANDS_AFTER_MS, service.slo.latency.thresholdMs / 4)
  const stands = (now: number) => now - emptyAt > standsAfterMs
  const isLate = ({ since }: Waiting, now: number) => now - since > patienceMs
  const leave = (line: Line<Waiting>, place: Entry<Waiting>) => {
    if (!line.leave(place) || --waiting > 0) return
    emptyAt = performance.now()
    clearInterval(sweeper)
  }

  /** The next to begin. Where the newest is late all of its line are, and wait to be refused. */
  const next = (now: number): Waiting | undefined => {
    for (const line of lines) {
      const place = stands(now) ? line.last() : line.first()
      if (!place || isLate(place.of, now)) continue
      leave(line, place)
      return place.of
    }
    return undefined
  }

  const refuseOldest = (line: Line<Waiting>, now: number): boolean => {
    const oldest = line.first()
    // Nobody waits longer than a request may take, and a pod with room has time to refuse.
    const isRationed = now - (oldest?.of.since ?? now) < service.timeoutMs && begun >= limit.current()
    if (!oldest || !isLate(oldest.of, now) || (isRationed && refusals < 1)) return false
    leave(line, oldest)
    refuse(oldest.of, now)
    refusals = Math.max(0, refusals - 1)
    return true
  }

  /** Refuses the oldest of the last class first. */
  const sweep = () => {
    limit.use(begun)
    pump()
    const now = performance.now()
    refusals = Math.min(refusals + ((now - sweptAt) / 1_000) * LEAST_REFUSED, MOST_SAVED_UP)
    sweptAt = now
    for (const line of lines.toReversed()) while (refuseOldest(line, now));
  }

  const begin = ({ req, res, since }: Omit<Waiting, 'match'>) => {
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
        if (waiting > 0) schedule()
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
    while (waiting > 0 && begun < limit.current()) {
      const found = next(now)
      if (!found) return
      begin(found)
    }
  }

  const admit: RequestListener = (req, res) => {
    const since = performance.now()
    if (waiting === 0 && begun < limit.current()) {
      begin({ req, res, since })
      return
    }
    const found = match(req.method ?? '', pathOf(req.url ?? ''))
    const line = lines[classOf(found.operation, req.headers.authorization !== undefined)] as Line<Waiting>
    const place = line.join({ req, res, match: found, since })
    // Its client has gone, or it is answered.
    res.once('close', () => leave(line, place))
    if (begun < limit.current()) schedule()
    if (waiting++ > 0) return
    emptyAt = since
    sweptAt = since
    sweeper = setInterval(sweep, SWEEP_MS)
  }
  return handler => {
    handle = handler
    return admit
  }
}

/** Who goes first. */
const CLASSES = ['workload', 'user-write', 'user-read', 'anybody'] as const

/** By the route, and never by what a request says of itself but that it has a token. */
function classOf(operation: Operation | undefined, hasToken: boolean): number {
  if (operation?.auth === 'workload') return CLASSES.indexOf('workload')
  // Without a token it will be refused.
  if (operation?.auth === 'user' && hasToken) return CLASSES.indexOf(operation.method === 'GET' ? 'user-read' : 'user-write')
  return CLASSES.indexOf('anybody')
}

const pathOf = (url: string) => {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** Writes the one answer that there is; each is counted, some are logged. */
function refusal({ metrics, log }: AdmissionOptions): (refused: Waiting, now: number) => void {
  const counted = countShed(metrics)
  const problem = problemOf(overloaded())
  const body = Buffer.from(JSON.stringify(problem))
  const headers = Object.entries({
    ...SECURITY_HEADERS,
    ...problem.headers,
    'content-type': PROBLEM_CONTENT_TYPE,
    'content-length': String(body.length),
  }).flat()
  let loggedAt = Number.NEGATIVE_INFINITY
  let unlogged = 0
  return ({ req, res, match, since }, now) => {
    // The rest of it would be read, or be taken for the next request.
    const unread = req.complete ? [] : ['connection', 'close']
    res.writeHead(503, [...headers, ...unread]).end(body)
    counted.inc({ reason: 'queue' })
    const labels = labelsOf(req.method ?? '', match.operation?.path, 503)
    metrics.serverDuration.observe({ labels, value: (now - since) / 1_000, exemplarLabels: {} } as never)
    unlogged++
    if (now - loggedAt < LOG_EVERY_MS) return
    const route = match.operation?.path
    const { method } = req
    log.error(
      { method, route, status: 503, bytes: body.length, code: 'overloaded', refused: unlogged, duration_ms: Math.round(now - since) },
      'request',
    )
    loggedAt = now
    unlogged = 0
  }
}
