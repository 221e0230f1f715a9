import type { TokenRealm } from '@fairlead/chassis'
import { createAccessTokenVerifier, unauthorized, type Verifier } from '@fairlead/chassis/identity'
import type { UserStore } from './store.ts'
import type { SigningKeys } from './tokens.ts'

/** At home an access token also needs its session to be alive; other services trust it until it expires. */
export function createSessionVerifier(store: UserStore, keys: () => SigningKeys, realm: TokenRealm): Verifier {
  const verify = createAccessTokenVerifier((header, token) => keys().lookup(header, token), realm)
  return async (token, scope) => {
    const principal = await verify(token, scope)
    if (await store.isAlive(scope, principal.sessionId as string, principal.id)) return principal
    throw unauthorized('The session of this token has ended', 'invalid_token')
  }
}
