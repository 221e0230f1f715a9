import { Failure, invalidRequest } from './failure.ts'

/** 1 to 255 visible ASCII characters, as JSON Schema. */
export const KEY_SCHEMA = { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' }
export const REPLAYED_HEADER = 'Idempotency-Replayed'

const KEY = new RegExp(KEY_SCHEMA.pattern)

/** @throws Failure `idempotency-key-required` without a key, `invalid-request` for an illegal one */
export function requireKey(header: string): string {
  if (header === '')
    throw new Failure('invalid', 'idempotency-key-required', 'Send an Idempotency-Key header, new for each order, so that repeating is safe')
  if (!KEY.test(header)) throw invalidRequest([{ field: 'header.idempotency-key', message: 'is not 1 to 255 visible ASCII characters' }])
  return header
}
