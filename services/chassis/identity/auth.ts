import { errors, type JWTPayload, jwtVerify } from 'jose'
import { ACCESS_TOKEN, type TokenRealm } from '../contract/access-token.ts'
import { Failure } from '../contract/failure.ts'
import type { Scope } from '../contract/scope.ts'
import type { KeyLookup } from './jwks.ts'

/** Who a request comes from: a user by id, or a service by its ServiceAccount. */
export interface Principal {
  kind: 'user' | 'workload'
  /** The user's id, or the service's name. */
  id: string
  /** Of a user: the session that the access token belongs to. */
  sessionId?: string
}

/** Checks a bearer token. @throws Failure `unauthorized`, `forbidden` or `unavailable` */
export type Verifier = (token: string, scope: Scope) => Promise<Principal>

/** @param error whether a token was sent, and is not good */
export const unauthorized = (detail: string, error?: 'invalid_token'): Failure =>
  new Failure('unauthenticated', 'unauthorized', detail, error && { invalidToken: true })

export const forbidden = (detail: string): Failure => new Failure('forbidden', 'forbidden', detail)

/** Verifies users' access tokens (RFC 9068) with the algorithm and type pinned, as RFC 8725 sections 3.1 and 3.11 ask. */
export function createAccessTokenVerifier(keys: KeyLookup, { issuer, audience }: TokenRealm): Verifier {
  return async token => {
    const payload = await verifyJwt(token, keys, {
      algorithms: [ACCESS_TOKEN.algorithm],
      typ: ACCESS_TOKEN.typ,
      issuer,
      audience,
      requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id', 'sid'],
    })
    return { kind: 'user', id: payload.sub as string, sessionId: payload.sid as string }
  }
}

/** jose's checks with the caller's mistakes as 401; a problem of the key lookup passes through. */
export async function verifyJwt(token: string, keys: KeyLookup, options: Parameters<typeof jwtVerify>[2]): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, { clockTolerance: ACCESS_TOKEN.clockToleranceSeconds, ...options })).payload
  } catch (error) {
    if (error instanceof Failure) throw error
    if (error instanceof errors.JWTExpired) throw unauthorized('The token has expired', 'invalid_token')
    throw unauthorized('The token is not valid here', 'invalid_token')
  }
}

export interface Verifiers {
  user?: Verifier
  workload?: Verifier
}
