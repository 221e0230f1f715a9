import { z } from 'zod'

/** A page's query: `limit` items after the opaque `cursor` of the page before. */
export const pageQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,2}$/, 'is not a whole number from 1 to 100')
    .transform(Number)
    .refine(n => n <= 100, 'is not a whole number from 1 to 100')
    .optional(),
  cursor: z
    .string()
    .transform((cursor, context) => {
      const id = decodeCursor(cursor)
      if (id) return id
      context.addIssue({ code: 'custom', message: 'is not a cursor that this service made' })
      return z.NEVER
    })
    .optional(),
})

/** The cursor that continues after the item `id` (a UUID): stable under inserts, because ids never move. */
export const encodeCursor = (id: string): string => Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')

/** The id in a cursor, or undefined when it is not the one text that encodeCursor gives for a UUIDv7. */
export function decodeCursor(cursor: string): string | undefined {
  if (!/^[\w-]{22}$/.test(cursor)) return undefined
  const hex = Buffer.from(cursor, 'base64url').toString('hex')
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return id[14] === '7' && encodeCursor(id) === cursor ? id : undefined
}
