/** Codes of gRPC, by the names that OpenTelemetry's `rpc.response.status_code` has. */
export const CODES = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const

export type CodeName = keyof typeof CODES

const NAMES = Object.keys(CODES) as CodeName[]

/** The name of a code; UNKNOWN for what is none. */
export const codeName = (code: number): CodeName => NAMES[code] ?? 'UNKNOWN'

/**
 * A problem's status as a code of gRPC. What has no entry is INTERNAL from 500 on, else FAILED_PRECONDITION: conflicts and refusals are final,
 * where ABORTED would ask the caller to begin anew.
 */
export const codeOfStatus = (status: number): CodeName => BY_STATUS[status] ?? (status >= 500 ? 'INTERNAL' : 'FAILED_PRECONDITION')

const BY_STATUS: Record<number, CodeName> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  405: 'UNIMPLEMENTED',
  408: 'CANCELLED',
  413: 'RESOURCE_EXHAUSTED',
  429: 'RESOURCE_EXHAUSTED',
  499: 'CANCELLED',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
}

/** The HTTP status that a caller's code treats like a code of gRPC, where no declared problem says a better one. */
export const STATUS_OF_CODE: Record<CodeName, number> = {
  OK: 200,
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 422,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 405,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
}

/**
 * What a server answers for its own fault, by OpenTelemetry's conventions for gRPC, but for UNIMPLEMENTED: here that is a method that nobody
 * declared, which is its caller's mistake.
 */
export const SERVER_ERRORS: readonly CodeName[] = ['UNKNOWN', 'DEADLINE_EXCEEDED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS']

export const isServerError = (code: CodeName): boolean => SERVER_ERRORS.includes(code)
