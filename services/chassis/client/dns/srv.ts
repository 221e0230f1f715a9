import type { StringAnswer } from 'dns-packet'
import type { Address } from '../addresses.ts'
import type { Find } from '../discovery.ts'
import { follow, ttlOf } from './follow.ts'
import { plain, type Reply } from './message.ts'
import type { Resolver } from './resolver.ts'

/**
 * How long an answer counts, whatever its TTL says. The most: a pod that leaves takes requests for 6 s after its address is gone (5 s of
 * preStop, 1 s of LINGER_MS), while Kubernetes' DNS often says 30 s.
 */
const TTL_SECONDS = { least: 1, most: 5 }
/** A fresh answer is fetched before the last one is over. */
const FRESH_SHARE = 0.8
const MAX_INSTANCES = 256
/** Of one host. */
const MAX_ADDRESSES = 16
/** Of hosts whose addresses the answer does not bring along, how many are asked for, so many at once. */
const MAX_HOSTS = 64
const AT_ONCE = 8
/** How long they may take together: one that nobody knows must not hide the others. */
const HOSTS_MS = 1_000

const freshMs = (ttl: number) => Math.max(TTL_SECONDS.least, Math.min(ttl, TTL_SECONDS.most)) * 1_000 * FRESH_SHARE

/**
 * The instances of a service as RFC 2782 names them: hosts and ports, priorities and weights.
 * @param name fully qualified: no search domain is tried
 */
export const findBySrv =
  (name: string, resolver: Resolver): Find =>
  async signal => {
    const { records, ttl, reply } = await follow(resolver, { name, type: 'SRV' }, signal)
    if (records.length === 0) return { addresses: [], freshMs: freshMs(ttl) }
    // "A Target of "." means that the service is decidedly not available at this domain."
    const offers = records.filter(({ data }) => data.target !== '.')
    if (offers.length === 0) return { addresses: [], freshMs: freshMs(ttl), isFinal: true }
    const usable = offers.filter(({ data }) => data.port > 0)
    const nearest = usable.sort((a, b) => (a.data.priority ?? 0) - (b.data.priority ?? 0)).slice(0, MAX_INSTANCES)
    const hosts = await addressesOf(resolver, new Set(nearest.map(({ data }) => plain(data.target))), reply, signal)
    const addresses = nearest.flatMap(({ data: { target, port, priority = 0, weight = 0 } }) =>
      (hosts.known.get(plain(target)) ?? []).map((host): Address => ({ host, port, priority, weight })),
    )
    if (addresses.length === 0) throw new Error(`no instance of ${name} has an address and a port`, { cause: hosts.failure })
    return { addresses: addresses.slice(0, MAX_INSTANCES), freshMs: hosts.failure ? freshMs(0) : freshMs(Math.min(ttl, hosts.ttl)) }
  }

interface Hosts {
  known: Map<string, string[]>
  ttl: number
  /** Why some are not known. */
  failure?: unknown
}

/** The addresses of hosts: those that came with the reply, and for the others those that their names lead to. */
async function addressesOf(resolver: Resolver, hosts: Set<string>, { additionals }: Reply, signal: AbortSignal): Promise<Hosts> {
  const found: Hosts = { known: new Map(), ttl: Number.POSITIVE_INFINITY }
  const note = (host: string, records: StringAnswer[], ttl: number) => {
    if (records.length === 0) return
    const known = found.known.get(host) ?? []
    known.push(...records.slice(0, MAX_ADDRESSES - known.length).map(({ data }) => data))
    found.known.set(host, known)
    found.ttl = Math.min(found.ttl, ttl)
  }
  for (const record of additionals)
    if ((record.type === 'A' || record.type === 'AAAA') && hosts.has(plain(record.name))) note(plain(record.name), [record], ttlOf(record))
  const inTime = AbortSignal.any([signal, AbortSignal.timeout(HOSTS_MS)])
  const others = [...hosts].filter(host => !found.known.has(host)).slice(0, MAX_HOSTS)
  for (let at = 0; at < others.length; at += AT_ONCE) {
    const questions = others.slice(at, at + AT_ONCE).flatMap(host => (['A', 'AAAA'] as const).map(type => ({ name: host, type })))
    const answers = await Promise.allSettled(questions.map(question => follow(resolver, question, inTime)))
    signal.throwIfAborted()
    for (const [n, answer] of answers.entries())
      if (answer.status === 'fulfilled') note(questions[n]?.name as string, answer.value.records, answer.value.ttl)
      else found.failure ??= answer.reason
  }
  return found
}
