import pino, { type DestinationStream, type Logger } from 'pino'

export type { Logger }

export interface LogOptions {
  service: string
  /** @default 'info' */
  level?: string
  /** @default standard output, written asynchronously */
  destination?: DestinationStream
}

/** Members that never reach a log, at the top and one level down. The code logs chosen fields only; this is the second fence. */
const SECRET = [
  'password',
  'oldPassword',
  'newPassword',
  'passwordHash',
  'email',
  'authorization',
  'cookie',
  'accessToken',
  'refreshToken',
  'token',
  'secret',
  'databaseUrl',
]

/** JSON lines with `level` as a word and `time` in RFC 3339. */
export function createLog({ service, level = 'info', destination = pino.destination({ sync: false }) }: LogOptions): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      redact: { paths: SECRET.flatMap(name => [name, `*.${name}`]), censor: '[redacted]' },
      serializers: { err: serializeError },
    },
    destination,
  )
}

/** Name, code, message, stack and cause. Postgres' `detail` and `where` are left out: they quote values. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) }
  const { name, message, stack, cause } = error
  const code = (error as { code?: unknown }).code
  return { name, ...(code !== undefined && { code }), message, stack, ...(cause !== undefined && { cause: serializeError(cause) }) }
}

/** Writes what is buffered before the process ends. */
export const flushLog = (log: Logger): Promise<void> => new Promise(resolve => log.flush(() => resolve()))
