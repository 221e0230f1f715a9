import type { Edge, ServiceDefinition } from '@fairlead/chassis'
import { SERVER_ERRORS } from '@fairlead/chassis/grpc'

/** What servers and clients measure by each protocol, by OpenTelemetry's conventions. */
const HTTP = {
  server: 'http_server_request_duration_seconds',
  client: 'http_client_request_duration_seconds',
  status: 'http_response_status_code',
  operation: ['http_request_method', 'http_route'],
  failed: 'http_response_status_code=~"5.."',
} as const
const GRPC = {
  server: 'rpc_server_call_duration_seconds',
  client: 'rpc_client_call_duration_seconds',
  status: 'rpc_response_status_code',
  operation: ['rpc_method'],
  failed: `rpc_response_status_code=~"${SERVER_ERRORS.join('|')}"`,
} as const

/** Those by which one of some services is served. */
export const protocolsOf = (services: readonly Pick<ServiceDefinition, 'grpc'>[]) => (services.some(({ grpc }) => grpc) ? [HTTP, GRPC] : [HTTP])

/** That of an edge. */
export const protocolOf = ({ protocol }: Pick<Edge, 'protocol'>) => (protocol === 'grpc' ? GRPC : HTTP)

/** Those of the edges between some services: an edge has metrics by its own protocol alone. @returns HTTP where there are no edges */
export function protocolsBetween(services: readonly Pick<ServiceDefinition, 'calls'>[]) {
  const used = new Set(services.flatMap(({ calls }) => calls.map(protocolOf)))
  return used.size > 0 ? [HTTP, GRPC].filter(protocol => used.has(protocol)) : [HTTP]
}

/** Makes a vector of counters from their selector, e.g. their rates. */
export type Over = (selector: string) => string

/**
 * PromQL of all requests to a service, by every protocol: a vector to add up. No series of one protocol has the labels of one of another, so that
 * `or` joins them all; and it gives those of the one where there are none of the other yet.
 */
export function requestsTo(services: readonly Pick<ServiceDefinition, 'grpc'>[], labels: string, over: Over) {
  const protocols = protocolsOf(services)
  const all = (suffix: 'count' | 'bucket', more = '') => protocols.map(({ server }) => over(`${server}_${suffix}{${labels}${more}}`)).join(' or ')
  return {
    requests: all('count'),
    /** Answered with a server's error: HTTP's 5xx, and gRPC's codes for one. */
    failed: protocols.map(({ server, failed }) => over(`${server}_count{${labels},${failed}}`)).join(' or '),
    durations: all('bucket'),
    /** Answered within the bound of a bucket. */
    within: (le: string) => all('bucket', `,le="${le}"`),
  }
}

/** What counts as failed, after `are answered`. */
export const failuresOf = ({ grpc }: Pick<ServiceDefinition, 'grpc'>): string => (grpc ? '5xx or with a server error of gRPC' : '5xx')
