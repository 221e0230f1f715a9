import { type Principal, unauthorized, type Verifiers } from '../identity/auth.ts'

/** Tokens that say who they are for and are not signed: only what these tests start believes them. */
const tokenOf = (principal: Principal): string => `test.${Buffer.from(JSON.stringify(principal)).toString('base64url')}`

/** An access token of a user. */
export const userToken = (id: string, { sessionId = `session-of-${id}` }: { sessionId?: string } = {}): string =>
  tokenOf({ kind: 'user', id, sessionId })

/** A token of a service that calls. */
export const workloadToken = (service: string): string => tokenOf({ kind: 'workload', id: service })

const verifierOf = (kind: Principal['kind']) => async (token: string) => {
  const principal = read(token)
  if (principal?.kind !== kind) throw unauthorized(`This is no token of a ${kind}`, 'invalid_token')
  return principal
}

function read(token: string): Principal | undefined {
  try {
    return JSON.parse(Buffer.from(/^test\.(.+)$/.exec(token)?.[1] ?? '', 'base64url').toString())
  } catch {
    return undefined
  }
}

/** Take the place of those that a service has. */
export const testVerifiers: Required<Verifiers> = { user: verifierOf('user'), workload: verifierOf('workload') }
