/**
 * What an access token is, for those who sign and those who verify. It lives for minutes: a service other than the issuer takes it until it
 * expires, also after a log-out. A key stays published for the longest life after it signs no more.
 */
export const ACCESS_TOKEN = { typ: 'at+jwt', algorithm: 'EdDSA', lifetimeSeconds: 300, maxLifetimeSeconds: 900, clockToleranceSeconds: 5 } as const

/** Who issues access tokens and whom they are for: facts of the system, not of one service. */
export interface TokenRealm {
  issuer: string
  audience: string
}
