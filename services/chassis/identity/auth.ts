import { errors, type JWTPayload, jwtVerify } from 'jose'
import { ACCESS_TOKEN, type TokenRealm } from '../contract/access-token.ts'
import { Failure } from '../contract/failure.ts'
import type { Scope } from '../contract/scope.ts'
import type { TokenAlgorithm } from '../contract/users.ts'
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

/** Of a token that a service of the system issued (RFC 9068), with its type pinned, as RFC 8725 section 3.11 asks. */
const OWN = { algorithms: [ACCESS_TOKEN.algorithm], typ: ACCESS_TOKEN.typ, requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id', 'sid'] }
/** What every issuer says. Most of them give access tokens no type of their own, so that the audience alone tells them from ID tokens. */
const FOREIGN = { requiredClaims: ['sub', 'exp', 'iat'] }

/** Of whom users' access tokens are. */
export interface UserRealm extends TokenRealm {
  /** Of a foreign issuer. @default a service of the system issues the tokens */
  algorithms?: readonly TokenAlgorithm[] | undefined
}

/** What a check of a token found. */
export interface Checked {
  principal: Principal
  /** The token's `exp`, in seconds since the epoch. */
  exp: number
}

/** Checks users' access tokens with the algorithms pinned, as RFC 8725 section 3.1 asks. */
export function checkAccessTokens(keys: KeyLookup, { issuer, audience, algorithms }: UserRealm): (token: string) => Promise<Checked> {
  const options = { issuer, audience, ...(algorithms ? { ...FOREIGN, algorithms: [...algorithms] } : OWN) }
  return async token => {
    const { sub, sid, exp } = await verifyJwt(token, keys, options)
    return { principal: { kind: 'user', id: sub as string, ...(typeof sid === 'string' && { sessionId: sid }) }, exp: exp as number }
  }
}

/** Verifies users' access tokens, each time anew. */
export function createAccessTokenVerifier(keys: KeyLookup, realm: UserRealm): Verifier {
  const check = checkAccessTokens(keys, realm)
  return async token => (await check(token)).principal
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
