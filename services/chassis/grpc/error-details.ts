import { create, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import { AnySchema, DurationSchema, file_google_protobuf_any, file_google_protobuf_duration } from '@bufbuild/protobuf/wkt'
import type { FieldProblem } from '../contract/failure.ts'
import { field, fileOf, list, type MessageInit, registryOf, Type } from './fields.ts'
import { CODES, type CodeName } from './status.ts'

/** What a failure tells beside its code, as https://google.aip.dev/193 has it. */
export interface ErrorDetails {
  /** Why, in UPPER_SNAKE_CASE; unique within `domain`. */
  reason: string
  /** The service that says so. */
  domain: string
  metadata: Record<string, string>
  fields?: readonly FieldProblem[]
  retryAfterSeconds?: number
}

const METADATA_ENTRY: MessageInit = {
  name: 'MetadataEntry',
  options: { mapEntry: true },
  field: [field('key', 1, Type.STRING), field('value', 2, Type.STRING)],
}

/** Of google/rpc/status.proto and google/rpc/error_details.proto what is used here. */
export const ERROR_FILES = [
  file_google_protobuf_any.proto,
  file_google_protobuf_duration.proto,
  fileOf({
    name: 'google/rpc/status.proto',
    package: 'google.rpc',
    dependency: ['google/protobuf/any.proto'],
    messageType: [
      {
        name: 'Status',
        field: [field('code', 1, Type.INT32), field('message', 2, Type.STRING), list('details', 3, '.google.protobuf.Any')],
      },
    ],
  }),
  fileOf({
    name: 'google/rpc/error_details.proto',
    package: 'google.rpc',
    dependency: ['google/protobuf/duration.proto'],
    messageType: [
      {
        name: 'ErrorInfo',
        field: [field('reason', 1, Type.STRING), field('domain', 2, Type.STRING), list('metadata', 3, '.google.rpc.ErrorInfo.MetadataEntry')],
        nestedType: [METADATA_ENTRY],
      },
      {
        name: 'BadRequest',
        field: [list('field_violations', 1, '.google.rpc.BadRequest.FieldViolation')],
        nestedType: [{ name: 'FieldViolation', field: [field('field', 1, Type.STRING), field('description', 2, Type.STRING)] }],
      },
      { name: 'RetryInfo', field: [field('retry_delay', 1, Type.MESSAGE, { typeName: '.google.protobuf.Duration' })] },
    ],
  }),
]

const RPC = registryOf(...ERROR_FILES)
const schema = (name: string) => RPC.getMessage(`google.rpc.${name}`) as DescMessage
const STATUS = schema('Status')
const ERROR_INFO = schema('ErrorInfo')
const BAD_REQUEST = schema('BadRequest')
const RETRY_INFO = schema('RetryInfo')

const any = (descriptor: DescMessage, init: Record<string, unknown>) =>
  create(AnySchema, { typeUrl: `type.googleapis.com/${descriptor.typeName}`, value: toBinary(descriptor, create(descriptor, init as never)) })

/** The value of `grpc-status-details-bin`. */
export function writeDetails(code: CodeName, message: string, details: ErrorDetails): string {
  const { reason, domain, metadata, fields, retryAfterSeconds } = details
  const status = create(STATUS, {
    code: CODES[code],
    message,
    details: [
      any(ERROR_INFO, { reason, domain, metadata }),
      ...(fields ? [any(BAD_REQUEST, { fieldViolations: fields.map(one => ({ field: one.field, description: one.message })) })] : []),
      ...(retryAfterSeconds === undefined
        ? []
        : [any(RETRY_INFO, { retryDelay: create(DurationSchema, { seconds: BigInt(retryAfterSeconds), nanos: 0 }) })]),
    ],
  } as never)
  return Buffer.from(toBinary(STATUS, status)).toString('base64')
}

interface ReadStatus {
  details: { typeUrl: string; value: Uint8Array }[]
}

/** What our own services tell of a failure; undefined where there is nothing of theirs, or nothing that can be read. */
export function readDetails(header: string | undefined): ErrorDetails | undefined {
  if (header === undefined) return undefined
  try {
    const { details } = fromBinary(STATUS, Buffer.from(header, 'base64')) as unknown as ReadStatus
    const find = (descriptor: DescMessage) => {
      const found = details.find(({ typeUrl }) => typeUrl.endsWith(`/${descriptor.typeName}`))
      return found && (fromBinary(descriptor, found.value) as unknown)
    }
    const info = find(ERROR_INFO) as Pick<ErrorDetails, 'reason' | 'domain' | 'metadata'> | undefined
    if (!info) return undefined
    const bad = find(BAD_REQUEST) as { fieldViolations: { field: string; description: string }[] } | undefined
    const retry = find(RETRY_INFO) as { retryDelay?: { seconds: bigint } } | undefined
    return {
      reason: info.reason,
      domain: info.domain,
      metadata: info.metadata,
      ...(bad && { fields: bad.fieldViolations.map(one => ({ field: one.field, message: one.description })) }),
      ...(retry?.retryDelay && { retryAfterSeconds: Number(retry.retryDelay.seconds) }),
    }
  } catch {
    return undefined
  }
}
