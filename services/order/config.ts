import { z } from 'zod'
import { text } from '../chassis/config.ts'

/** The order service's settings beyond those of every service. Required ones have no default. */
export const orderConfig = {
  AUTH_ISSUER: text('the issuer of access tokens, a URL'),
  AUTH_AUDIENCE: text('the audience of access tokens'),
  USER_IDENTITY_FILE: text('the path of our workload token for the user service'),
  USER_HOST: z.string().min(1).optional().describe('the name or address of the user service; by default its headless Service'),
}
