import { expect, test } from 'vitest'
import { protocolsBetween } from '../../../infra/kit/alerts/requests.ts'
import { booking, hello } from '../../support/acme.ts'

test('edges are asked for by the metrics of their own protocols, and HTTP where there are none', () => {
  const [edge] = booking.calls
  const clients = (...protocols: ('http' | 'grpc')[]) =>
    protocolsBetween([hello, { calls: protocols.map(protocol => ({ ...edge, protocol })) }]).map(({ client }) => client)
  const http = 'http_client_request_duration_seconds'
  const grpc = 'rpc_client_call_duration_seconds'
  expect(clients('http', 'http')).toEqual([http])
  expect(clients('grpc')).toEqual([grpc])
  expect(clients('grpc', 'http')).toEqual([http, grpc])
  expect(clients()).toEqual([http])
})
