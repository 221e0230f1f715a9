import { create, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import { field, fileOf, registryOf, Type } from './fields.ts'

/** https://github.com/grpc/grpc/blob/master/doc/health-checking.md */
export const HEALTH_SERVICE = 'grpc.health.v1.Health'

const STATUS = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const

export const HEALTH_FILE = fileOf({
  name: 'grpc/health/v1/health.proto',
  package: 'grpc.health.v1',
  messageType: [
    { name: 'HealthCheckRequest', field: [field('service', 1, Type.STRING)] },
    {
      name: 'HealthCheckResponse',
      field: [field('status', 1, Type.ENUM, { typeName: '.grpc.health.v1.HealthCheckResponse.ServingStatus' })],
      enumType: [{ name: 'ServingStatus', value: Object.entries(STATUS).map(([name, number]) => ({ name, number })) }],
    },
  ],
  service: [
    {
      name: 'Health',
      method: [
        { name: 'Check', inputType: '.grpc.health.v1.HealthCheckRequest', outputType: '.grpc.health.v1.HealthCheckResponse' },
        { name: 'Watch', inputType: '.grpc.health.v1.HealthCheckRequest', outputType: '.grpc.health.v1.HealthCheckResponse', serverStreaming: true },
      ],
    },
  ],
})

const registry = registryOf(HEALTH_FILE)
const REQUEST = registry.getMessage('grpc.health.v1.HealthCheckRequest') as DescMessage
const RESPONSE = registry.getMessage('grpc.health.v1.HealthCheckResponse') as DescMessage

/** The service that is asked for; empty means the whole process. @throws Error for what is no such message */
export const readHealthRequest = (bytes: Uint8Array): string => (fromBinary(REQUEST, bytes) as unknown as { service: string }).service

export const writeHealth = (serving: boolean): Uint8Array =>
  toBinary(RESPONSE, create(RESPONSE, { status: serving ? STATUS.SERVING : STATUS.NOT_SERVING } as never))
