import { ACCESS_TOKEN, count, seconds, text } from '@fairlead/chassis'
import { workloadConfig } from '@fairlead/chassis/run'

/** What people may change. */
export const userSettings = {
  /** How long an access token lives: order and other services take it for that long after a log-out. */
  ACCESS_TOKEN_SECONDS: seconds(ACCESS_TOKEN.lifetimeSeconds, 60, ACCESS_TOKEN.maxLifetimeSeconds),
  /** Of a new user, in minor units. */
  CREDIT_LIMIT: count(100_000),
  /** Tried in 15 minutes. More than a household needs; an event where many register behind one address needs more. */
  REGISTRATIONS_PER_ADDRESS: count(20),
}

/** The user service's settings beyond those of every service. Required ones have no default. */
export const userConfig = {
  SIGNING_DIR: text('the folder of the access token signing keys'),
  AUTH_ISSUER: text('the issuer of access tokens, a URL'),
  AUTH_AUDIENCE: text('the audience of access tokens'),
  ...workloadConfig,
  ...userSettings,
}
