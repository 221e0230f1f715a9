import { lookup as systemLookup } from 'node:dns/promises'
import type { Find } from './discovery.ts'

export type Lookup = (host: string) => Promise<string[]>

/** Through getaddrinfo, so that search domains and /etc/hosts count as they do for every other program of the pod. */
export const lookupAll: Lookup = async host => (await systemLookup(host, { all: true })).map(({ address }) => address)

/** getaddrinfo does not tell how long its answer is good for. */
const FRESH_MS = 2_000

/** The addresses of a name, A and AAAA, all with the same port: on Kubernetes those of a headless Service's ready pods. */
export const findByName =
  (host: string, port: number, lookup: Lookup = lookupAll): Find =>
  async () => {
    const found = await lookup(host)
    // No answer rather than the answer that there is nobody: getaddrinfo does not tell the two apart.
    if (found.length === 0) throw new Error(`${host} has no address`)
    return { addresses: found.map(address => ({ host: address, port })), freshMs: FRESH_MS }
  }
