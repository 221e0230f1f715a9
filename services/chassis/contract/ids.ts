import { v7 } from 'uuid'
import { z } from 'zod'

/** A new UUIDv7 (RFC 9562 section 5.7): ids made later sort later, so lists need no time of day. */
export const newId = (): string => v7()

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

export const id = z.string().regex(UUID_V7, 'is not a UUIDv7 in lower case').meta({ format: 'uuid' })

/** RFC 3339 in UTC. */
export const timestamp = z.string().meta({ format: 'date-time' })
