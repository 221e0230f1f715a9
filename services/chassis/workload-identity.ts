import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, decodeJwt, type FlattenedJWSInput, type JSONWebKeySet } from 'jose'
import type { Logger } from 'pino'
import { forbidden, type Verifier, verifyJwt } from './auth.ts'
import { type KeyLookup, keysUnavailable } from './jwks.ts'
import { type Watched, watchPath } from './watched-file.ts'

/** What Kubernetes signs ServiceAccount tokens with. */
const ALGORITHMS = ['RS256', 'ES256']

export const workloadAudience = (service: string, namespace: string) => `${service}.${namespace}`

export const workloadSubject = (service: string, namespace: string) => `system:serviceaccount:${namespace}:${service}`

export interface WorkloadVerifierOptions {
  issuer: string
  /** The callee, as `audience` of the token. */
  service: string
  namespace: string
  /** Services whose edges lead here. */
  callers: readonly string[]
  keys: KeyLookup
}

/**
 * Verifies another service's projected ServiceAccount token: issuer, audience, expiry and that the graph lets the subject call.
 * Users' tokens fail at the issuer's keys: the two kinds share neither keys nor algorithms.
 */
export function createWorkloadVerifier({ issuer, service, namespace, callers, keys }: WorkloadVerifierOptions): Verifier {
  const subjects = new Map(callers.map(caller => [workloadSubject(caller, namespace), caller]))
  return async token => {
    const payload = await verifyJwt(token, keys, {
      algorithms: ALGORITHMS,
      issuer,
      audience: workloadAudience(service, namespace),
      requiredClaims: ['sub', 'exp', 'iat'],
    })
    const caller = subjects.get(payload.sub ?? '')
    if (!caller) throw forbidden('The system graph has no edge from this caller')
    return { kind: 'workload', id: caller }
  }
}

/**
 * The cluster issuer's keys from a mounted file. A kid that is not among them, on a token that names this issuer, is 503 and an
 * error in the log: the cluster has rotated its keys and the file is stale.
 */
export const watchIssuerKeys = (path: string, issuer: string, log: Logger): Promise<Watched<KeyLookup>> =>
  watchPath({ path, log, read: async file => issuerKeys(JSON.parse(await readFile(file, 'utf8')), issuer, log) })

export function issuerKeys(jwks: JSONWebKeySet, issuer: string, log: Logger): KeyLookup {
  const find = createLocalJWKSet(jwks)
  return async (header, token) => {
    try {
      return await find(header, token)
    } catch (error) {
      if (
        (error as { code?: string }).code === 'ERR_JWKS_NO_MATCHING_KEY' &&
        ALGORITHMS.includes(header.alg ?? '') &&
        claimedIssuer(token) === issuer
      ) {
        log.error({ kid: header.kid }, 'workload token signed with a key that the issuer file lacks')
        throw keysUnavailable()
      }
      throw error
    }
  }
}

const claimedIssuer = ({ payload }: FlattenedJWSInput) => decodeJwt(`.${payload}.`).iss

/** Our own token for one callee, re-read as the kubelet renews it. */
export const watchWorkloadToken = (path: string, log: Logger): Promise<Watched<string>> =>
  watchPath({ path, log, read: async file => (await readFile(file, 'utf8')).trim() })
