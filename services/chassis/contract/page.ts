import { z } from 'zod'

// The 16 bytes of a UUIDv7 in base64url: the 9th character holds its version, the 11th its variant, the last one only two bits.
const CURSOR = /^[\w-]{8}[c-f][\w-][CGKOSWaeimquy26-][\w-]{10}[AQgw]$/

/** A page's query: `limit` items after the opaque `cursor` of the page before. */
export const pageQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^([1-9][0-9]?|100)$/, 'is not a whole number from 1 to 100')
    .transform(Number)
    .optional(),
  cursor: z.string().regex(CURSOR, 'is not a cursor that this service made').transform(toId).optional(),
})

/** The cursor that continues after the item `id` (a UUIDv7): stable under inserts, because ids never move. */
export const encodeCursor = (id: string): string => Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')

/** The id in a cursor, or undefined when it is not the one text that encodeCursor gives for a UUIDv7. */
export const decodeCursor = (cursor: string): string | undefined => (CURSOR.test(cursor) ? toId(cursor) : undefined)

function toId(cursor: string): string {
  const hex = Buffer.from(cursor, 'base64url').toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
