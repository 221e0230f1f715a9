import { atMost } from '../contract/deadline.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type Address, createAddresses, type Target } from './addresses.ts'

/** What a registry says of a callee. */
export interface Found {
  /** None: the registry knows the name, and nobody is there. */
  addresses: readonly Address[]
  /** How long it need not be asked again, in milliseconds. */
  freshMs: number
  /** Nobody is there on purpose, so that the last addresses are no use either. @default false */
  isFinal?: boolean
}

/** Asks a registry. Rejects when it gives no answer; ends when the signal aborts. */
export type Find = (signal: AbortSignal) => Promise<Found>

export interface DiscoveryOptions {
  /** What is looked for, as errors name it. */
  name: string
  callee: string
  find: Find
  metrics: Metrics
  log: Logger
  /** Longest wait for the registry, in milliseconds. @default 1000 */
  timeoutMs?: number
}

/** The addresses of a callee, for any transport. */
export interface Discovery {
  /**
   * All of them in the order in which a call tries them. Each call begins with another one, so that calls spread by weight, and one that is
   * refused has somewhere else to go. A transport that keeps connections may close those to addresses that are no longer there.
   * Rejects only while no address is known.
   */
  addresses(): Promise<Target[]>
  /** A connection was refused or never made: others are called first for a while. */
  failed(target: Pick<Target, 'authority'>): void
  /** An answer came from there. */
  reached(target: Pick<Target, 'authority'>): void
  /** Ends what is under way. */
  close(): void
}

/** Between the beginnings of two questions, when the first was not answered. */
const PAUSE_MS = 1_000
/** An answer that is older than its time by so much is waited for, since pods may long have other addresses: nobody called meanwhile. */
const OLD_MS = 30_000
const OLD_WAIT_MS = 250
/** How long the last addresses are used while the registry says that nobody is there: it may be all pods that are not ready for a moment. */
const EMPTY_MS = 30_000

/**
 * Follows the addresses of a callee. A stale answer is used while a fresh one is fetched: a registry is never on the path of a request
 * twice, and while it is away the last addresses stay.
 */
export function createDiscovery({ name, callee, find, metrics, log, timeoutMs = 1_000 }: DiscoveryOptions): Discovery {
  const known = createAddresses()
  let isClosed = false
  let question: AbortController | undefined
  let asking: Promise<void> | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let freshUntil = Number.NEGATIVE_INFINITY
  let emptySince: number | undefined
  let isAway = false

  const labels = { peer_service: callee }
  const outcomes = ['found', 'empty', 'failed'].map(outcome => ({ ...labels, outcome }))
  const lookups = metrics.counter('discovery_lookups_total', 'Lookups of addresses by outcome', ['peer_service', 'outcome'], outcomes)
  const ejections = metrics.counter('discovery_ejections_total', 'Addresses left out, since they took no connection', ['peer_service'], [labels])
  const size = metrics.gauge('discovery_addresses', 'Addresses known', ['peer_service'])
  const ejected = metrics.gauge('discovery_ejected_addresses', 'Addresses that took no connection, and gave no answer since', ['peer_service'])
  const show = () => {
    size.set(labels, known.size)
    ejected.set(labels, known.suspects)
  }
  show()

  const learn = ({ addresses, freshMs, isFinal = false }: Found) => {
    const now = performance.now()
    freshUntil = now + freshMs
    lookups.inc({ ...labels, outcome: addresses.length > 0 ? 'found' : 'empty' })
    emptySince = addresses.length > 0 ? undefined : (emptySince ?? now)
    const isOver = isFinal || (emptySince !== undefined && now - emptySince >= EMPTY_MS)
    if (addresses.length === 0 && !isOver) return
    const { added, removed } = known.replace(addresses)
    if (added.length > 0 || removed.length > 0) log.info({ peer: callee, name, added, removed }, 'addresses changed')
    show()
  }

  const ask = async () => {
    const own = new AbortController()
    question = own
    askedAt = performance.now()
    try {
      const found = await atMost(timeoutMs, find(own.signal))
      if (!found) throw new Error(`no DNS answer for ${name} in ${timeoutMs} ms`)
      if (isAway) log.info({ peer: callee, name }, 'the registry answers again')
      isAway = false
      learn(found)
    } catch (error) {
      lookups.inc({ ...labels, outcome: 'failed' })
      if (!isAway && !isClosed) log.warn({ peer: callee, name, err: error, addresses: known.size }, 'the registry gives no answer')
      isAway = true
      throw error
    } finally {
      own.abort()
    }
  }
  const askOnce = () => {
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }

  return {
    addresses: async () => {
      const now = performance.now()
      if (known.size === 0 && now >= freshUntil) await askOnce()
      else if (now > freshUntil && (!isAway || now >= askedAt + PAUSE_MS)) {
        const answered = askOnce().catch(() => {})
        if (!isAway && now > freshUntil + OLD_MS) await atMost(OLD_WAIT_MS, answered)
      }
      if (known.size === 0) throw new Error(`${name} has no address`)
      return known.inTurn()
    },
    failed: ({ authority }) => {
      const forMs = known.fail(authority)
      if (forMs === undefined) return
      ejections.inc(labels)
      log.warn({ peer: callee, address: authority, forMs }, 'takes no connection: others are called first')
      show()
    },
    reached: ({ authority }) => {
      if (!known.recover(authority)) return
      log.info({ peer: callee, address: authority }, 'answers again')
      show()
    },
    close: () => {
      isClosed = true
      question?.abort()
    },
  }
}
