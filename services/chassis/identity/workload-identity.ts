import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import { workloadAudience, workloadSubject } from '../contract/workload.ts'
import type { WorkloadConfig } from '../run/config.ts'
import type { Runtime } from '../telemetry/runtime.ts'
import { forbidden, type Verifier, verifyJwt } from './auth.ts'
import { type IssuerKeys, openIssuerKeys } from './issuer-keys.ts'
import { rememberVerified } from './verified-tokens.ts'
import { type Watched, watchPath } from './watched-file.ts'

/** What Kubernetes signs ServiceAccount tokens with. */
const ALGORITHMS = ['RS256', 'ES256']

export interface WorkloadVerifierOptions {
  issuer: string
  /** The callee, as `audience` of the token. */
  service: string
  namespace: string
  /** Services whose edges lead here. */
  callers: readonly string[]
  keys: Pick<IssuerKeys, 'lookup' | 'version'>
}

/**
 * Verifies another service's projected ServiceAccount token: issuer, audience, expiry and that the graph lets the subject call.
 * Users' tokens fail at the issuer's keys: the two kinds share neither keys nor algorithms. One that is good is remembered for a while.
 */
export function createWorkloadVerifier({ issuer, service, namespace, callers, keys }: WorkloadVerifierOptions): Verifier {
  const subjects = new Map(callers.map(caller => [workloadSubject(caller, namespace), caller]))
  return rememberVerified(keys.version, async token => {
    const payload = await verifyJwt(token, keys.lookup, {
      algorithms: ALGORITHMS,
      issuer,
      audience: workloadAudience(service, namespace),
      requiredClaims: ['sub', 'exp', 'iat'],
    })
    const caller = subjects.get(payload.sub ?? '')
    if (!caller) throw forbidden('The system graph has no edge from this caller')
    return { principal: { kind: 'workload', id: caller }, exp: payload.exp as number }
  })
}

/** Verifies callers of a service by its settings. @throws Error when the file of the issuer's keys cannot be read */
export async function openWorkloadVerifier(
  service: string,
  config: WorkloadConfig & { NAMESPACE: string },
  runtime: Pick<Runtime, 'log' | 'metrics'>,
): Promise<{ verify: Verifier; close(): void }> {
  const issuer = config.WORKLOAD_ISSUER
  const keys = await openIssuerKeys({ issuer, source: config.WORKLOAD_JWKS, caFile: config.WORKLOAD_JWKS_CA_FILE }, runtime)
  const verify = createWorkloadVerifier({ issuer, service, namespace: config.NAMESPACE, callers: config.WORKLOAD_CALLERS, keys })
  return { verify, close: keys.close }
}

/** Our own token for one callee, re-read as the kubelet renews it. */
export const watchWorkloadToken = (path: string, log: Logger): Promise<Watched<string>> =>
  watchPath({ path, log, read: async file => (await readFile(file, 'utf8')).trim() })
