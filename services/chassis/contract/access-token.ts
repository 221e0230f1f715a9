import { z } from 'zod'
import type { Operation } from './contract.ts'

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

/** The operation by which a service publishes the keys of the access tokens that it issues. */
export const jwksOperation = {
  method: 'GET',
  path: '/.well-known/jwks.json',
  summary: 'Public keys of access tokens (RFC 7517)',
  auth: 'none',
  httpOnly: true,
  responses: {
    200: {
      description: 'The key set; a key is here before it signs and as long as its tokens live',
      body: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }),
      headers: { 'Cache-Control': 'How long the set may be kept' },
      example: {
        keys: [{ kty: 'OKP', crv: 'Ed25519', kid: '2026-11', alg: 'EdDSA', use: 'sig', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }],
      },
    },
  },
} as const satisfies Operation
