import { text } from '../chassis/config.ts'

/** The order service's settings beyond those of every service. Required ones have no default. */
export const orderConfig = {
  AUTH_ISSUER: text('the issuer of access tokens, a URL'),
  AUTH_AUDIENCE: text('the audience of access tokens'),
}
