import { errors, type JWTPayload, jwtVerify } from 'jose'
import type { Middleware } from 'koa'
import type { Contract } from '../contract/contract.ts'
import type { Scope } from '../contract/scope.ts'
import { ProblemError } from '../server/problem.ts'
import type { Match } from '../server/router.ts'
import type { KeyLookup } from './jwks.ts'

/** Who a request comes from: a user by id, or a service by its ServiceAccount. */
export interface Principal {
  kind: 'user' | 'workload'
  /** The user's id, or the service's name. */
  id: string
  /** Of a user: the session that the access token belongs to. */
  sessionId?: string
}

/** Checks a bearer token. @throws ProblemError 401, 403 or 503 */
export type Verifier = (token: string, scope: Scope) => Promise<Principal>

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

/** 401 with the challenge that RFC 6750 section 3 asks for. */
export function unauthorized(detail: string, error?: 'invalid_token'): ProblemError {
  const challenge = error ? `Bearer realm="fairlead", error="${error}"` : 'Bearer realm="fairlead"'
  return new ProblemError(401, 'unauthorized', detail, { headers: { 'www-authenticate': challenge } })
}

export const forbidden = (detail: string) => new ProblemError(403, 'forbidden', detail)

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
    if (error instanceof ProblemError) throw error
    if (error instanceof errors.JWTExpired) throw unauthorized('The token has expired', 'invalid_token')
    throw unauthorized('The token is not valid here', 'invalid_token')
  }
}

export interface Verifiers {
  user?: Verifier
  workload?: Verifier
}

/**
 * Holds each route to the `auth` that its contract declares.
 * @throws Error at once when an operation asks for tokens that nobody here can verify
 */
export function authenticate(contract: Contract, verifiers: Verifiers): Middleware {
  for (const [name, { auth }] of Object.entries(contract))
    if (auth !== 'none' && !verifiers[auth]) throw new Error(`${name} has auth '${auth}', and there is no verifier for it: give authenticate() one`)
  return async (ctx, next) => {
    const { operation }: Match = ctx.state.match
    if (operation && operation.auth !== 'none') {
      const token = bearer(ctx.get('authorization'))
      const verify = verifiers[operation.auth] as Verifier
      ctx.state.principal = await verify(token, ctx.state.scope)
    }
    return next()
  }
}

function bearer(header: string): string {
  if (header === '') throw unauthorized('Send a bearer token in the Authorization header')
  const [, token] = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(header) ?? []
  if (!token || token.length > 8_192) throw unauthorized('The Authorization header holds no bearer token', 'invalid_token')
  return token
}
