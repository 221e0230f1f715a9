import { count, text } from '@fairlead/chassis'
import { DEFAULT_LIMITS } from './limits.ts'

/** What people may change. */
export const orderSettings = {
  /** Of one user: orders that are pending or cancelling. */
  MAX_OPEN_ORDERS: count(DEFAULT_LIMITS.open),
  /** Of one user: orders that were rejected. */
  MAX_REFUSED_ORDERS_PER_DAY: count(DEFAULT_LIMITS.refused),
}

/** The order service's settings beyond those of every service. Required ones have no default. */
export const orderConfig = {
  AUTH_ISSUER: text('the issuer of access tokens, a URL'),
  AUTH_AUDIENCE: text('the audience of access tokens'),
  ...orderSettings,
}
