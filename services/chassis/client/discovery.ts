import { lookup as systemLookup } from 'node:dns/promises'
import { atMost } from '../contract/deadline.ts'

export type Lookup = (host: string) => Promise<string[]>

/** Through getaddrinfo, so that search domains and /etc/hosts count as they do for every other program of the pod. */
export const lookupAll: Lookup = async host => (await systemLookup(host, { all: true })).map(({ address }) => address)

export interface DiscoveryOptions {
  /** The callee's headless Service, or an address. */
  host: string
  /** Time that an answer counts as fresh, in milliseconds. @default 2000 */
  freshMs?: number
  /** Longest wait for DNS while no answer is known, in milliseconds. @default 1000 */
  timeoutMs?: number
  lookup?: Lookup
}

export interface Discovery {
  /**
   * All addresses behind the name, each call starting at the next one, so that calls spread evenly and a refused one has
   * somewhere else to go. Rejects only while no answer was ever had.
   */
  addresses(): Promise<string[]>
}

/**
 * Follows the addresses behind a name. A stale answer is used while a fresh one is fetched: DNS is never on the request path
 * twice, and when it is down the last addresses stay.
 */
export function createDiscovery({ host, freshMs = 2_000, timeoutMs = 1_000, lookup = lookupAll }: DiscoveryOptions): Discovery {
  let known: string[] = []
  let knownAt = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined
  let turn = 0

  const ask = () => {
    asking ??= atMost(timeoutMs, lookup(host))
      .then(found => {
        if (!found) throw new Error(`no DNS answer for ${host} in ${timeoutMs} ms`)
        if (found.length === 0) throw new Error(`${host} has no address`)
        known = found.sort()
        knownAt = performance.now()
      })
      .finally(() => {
        asking = undefined
      })
    return asking
  }

  return {
    addresses: async () => {
      if (known.length === 0) await ask()
      else if (performance.now() - knownAt > freshMs) ask().catch(() => {})
      const first = turn++ % known.length
      return [...known.slice(first), ...known.slice(0, first)]
    },
  }
}
