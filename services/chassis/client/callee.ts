import { parseCalleePlace } from '../contract/callee-place.ts'
import { parseDnsServer } from '../contract/dns-server.ts'
import { podsHost, type ServiceDefinition } from '../contract/graph.ts'
import type { Logger } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createDiscovery, type Discovery } from './discovery.ts'
import { createResolver } from './dns/resolver.ts'
import { findBySrv } from './dns/srv.ts'
import { findByName, type Lookup } from './lookup.ts'

/** How a process finds its callees. */
export interface Registry {
  /** `dns`: a callee's addresses, with the port of its definition; `srv`: its SRV records. @default 'dns' */
  way?: 'dns' | 'srv'
  /** Where names of Services end, for `srv`, e.g. `shop.svc.cluster.local`. */
  zone?: string
  /** DNS servers that know SRV records, as `address` or `address:port`. @default those of /etc/resolv.conf */
  servers?: readonly string[] | undefined
}

/** Where a callee is, and who is told of what happens there. */
export interface Whereabouts {
  callee: ServiceDefinition
  /** The port by its name in the callee's Service, and by its number where no registry tells. @default `http` and the port of its definition */
  port?: { name: string; number: number }
  /** `host`, `host:port` or `srv:name` @default its headless Service, the way of the registry */
  host?: string
  registry?: Registry
  lookup?: Lookup
  metrics: Metrics
  log: Logger
}

/** Longest wait for all servers together: two silent ones have a second round. */
const SRV_TIMEOUT_MS = 3_000

/** The addresses of a callee, and its name and port as requests and spans have them. Whoever opens it closes it. */
export function discoverCallee({
  callee,
  port = { name: 'http', number: callee.port },
  registry: { way = 'dns', zone, servers } = {},
  host = way === 'srv' ? `srv:_${port.name}._tcp.${podsHost(callee)}.${zone}` : podsHost(callee),
  lookup,
  ...telemetry
}: Whereabouts): { host: string; port: number; discovery: Discovery } {
  const place = parseCalleePlace(host)
  if (place.by === 'host') {
    const number = place.port ?? port.number
    const find = findByName(place.host, number, lookup)
    return { host: place.host, port: number, discovery: createDiscovery({ ...telemetry, name: place.host, callee: callee.name, find }) }
  }
  const find = findBySrv(place.name, createResolver(servers?.map(parseDnsServer)))
  const discovery = createDiscovery({ ...telemetry, name: place.name, callee: callee.name, find, timeoutMs: SRV_TIMEOUT_MS })
  // Requests and spans say which service, not which record.
  return { host: place.name.replace(/^(_[^.]+\.)+/, ''), port: port.number, discovery }
}
