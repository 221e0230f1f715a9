import type { Server } from 'node:http'
import type { Metrics } from '../telemetry/metrics.ts'
import { normalizeAddress } from './client-address.ts'
import { createPlaces, type PlaceLimits } from './places.ts'

/** Connections that a process holds; each costs it some kilobytes, and the kernel more. */
export const MAX_CONNECTIONS = 4_096

/**
 * Closes connections beyond what a server may hold, in all and from one address. Behind a proxy every connection is the proxy's: then
 * `perSource` is as much as `total`.
 */
export function boundConnections(server: Server, limits: PlaceLimits, metrics: Metrics): void {
  const places = createPlaces(limits)
  const dropped = metrics.counter(
    'http_server_dropped_connections_total',
    'Connections closed because too many were open, in all or from their source',
    ['limit'],
    [{ limit: 'total' }, { limit: 'source' }],
  )
  server.on('connection', socket => {
    const source = normalizeAddress(socket.remoteAddress ?? '') ?? ''
    const full = places.take(source)
    if (full) {
      dropped.inc({ limit: full })
      socket.destroy()
    } else socket.once('close', () => places.give(source))
  })
}
