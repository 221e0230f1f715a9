import { isIPv6 } from 'node:net'
import { createEjection, type Ejection } from './ejection.ts'

/** Where one instance of a callee listens. */
export interface Address {
  /** An IP address. */
  host: string
  port: number
  /** The lowest is called; a higher one only once all below are ejected. @default 0 */
  priority?: number
  /** Its share among those of its priority; all 0: even shares. @default 0 */
  weight?: number
}

/** An address as calls get it: the same object for as long as it is known. */
export interface Target extends Readonly<Required<Address>> {
  readonly authority: string
}

/** `10.0.0.1:8080` or `[fd00::1]:8080`: an address's name in URLs and logs, and what it is told apart by. */
export const authorityOf = ({ host, port }: Pick<Address, 'host' | 'port'>): string => `${isIPv6(host) ? `[${host}]` : host}:${port}`

export interface Addresses {
  /** @returns the authorities that are new, and those that are gone */
  replace(addresses: readonly Address[]): { added: string[]; removed: string[] }
  /**
   * All in the order in which a call tries them: by priority, and each call begins with another one, by weight. Ejected ones come last:
   * when nobody else is left, they are better than nothing.
   */
  inTurn(): Target[]
  /** Nobody took the connection: others are called for a while. @returns for how long, in milliseconds; undefined when nothing is new */
  fail(authority: string): number | undefined
  /** An answer came from there. @returns whether it had failed before */
  recover(authority: string): boolean
  readonly size: number
  /** How many have failed and did not answer since. */
  readonly suspects: number
}

/** RFC 2782: weight 0 among others has "a very small chance of being selected". */
const SHARE_OF_ZERO = 0.01

/** Smooth weighted round robin, as in nginx: each turn earns every address its share, and whoever is called pays the sum of all. */
interface Known extends Required<Address> {
  authority: string
  share: number
  credit: number
  ejection: Ejection
}

export function createAddresses(): Addresses {
  let all: Known[] = []
  let byAuthority = new Map<string, Known>()
  let suspects = 0

  const next = (usable: Known[], now: number): Known[] => {
    let first = usable[0] as Known
    let sum = 0
    for (const one of usable) {
      if (one.priority !== usable[0]?.priority) break
      sum += one.share
      one.credit += one.share
      if (one.credit > first.credit) first = one
    }
    first.credit -= sum
    if (first.ejection.isSuspect) first.ejection.tryAgain(now)
    const others = usable.filter(one => one !== first)
    return [first, ...others.sort((a, b) => a.priority - b.priority || b.credit - a.credit)]
  }
  const count = () => {
    suspects = all.filter(({ ejection }) => ejection.isSuspect).length
  }

  return {
    replace: addresses => {
      const before = byAuthority
      byAuthority = new Map()
      for (const { host, port, priority = 0, weight = 0 } of addresses) {
        const authority = authorityOf({ host, port })
        const one = before.get(authority) ?? { host, port, priority, weight, authority, share: 1, credit: 0, ejection: createEjection() }
        byAuthority.set(authority, Object.assign(one, { priority, weight }))
      }
      all = [...byAuthority.values()].sort((a, b) => a.priority - b.priority || (a.authority < b.authority ? -1 : 1))
      const weighted = new Set(all.flatMap(({ priority, weight }) => (weight > 0 ? [priority] : [])))
      for (const one of all) one.share = one.weight || (weighted.has(one.priority) ? SHARE_OF_ZERO : 1)
      count()
      return {
        added: all.flatMap(({ authority }) => (before.has(authority) ? [] : [authority])),
        removed: [...before.keys()].filter(authority => !byAuthority.has(authority)),
      }
    },
    inTurn: () => {
      if (all.length === 0) return []
      const now = performance.now()
      if (suspects === 0) return next(all, now)
      const usable = all.filter(({ ejection }) => ejection.until <= now)
      const ejected = all
        .filter(({ ejection }) => ejection.until > now)
        .sort((a, b) => a.priority - b.priority || a.ejection.until - b.ejection.until)
      return usable.length > 0 ? [...next(usable, now), ...ejected] : ejected
    },
    fail: authority => {
      const forMs = byAuthority.get(authority)?.ejection.fail(performance.now())
      count()
      return forMs
    },
    recover: authority => {
      if (suspects === 0) return false
      const recovered = byAuthority.get(authority)?.ejection.recover() ?? false
      count()
      return recovered
    },
    get size() {
      return all.length
    },
    get suspects() {
      return suspects
    },
  }
}
