import { jwksOperation } from './access-token.ts'
import { hasOperation } from './contract.ts'
import type { ServiceDefinition, SystemDefinition } from './graph.ts'

/** How a foreign issuer may sign. Never with a secret that verifiers share. */
export type TokenAlgorithm = 'EdDSA' | 'ES256' | 'PS256' | 'RS256'

/** An issuer of access tokens outside the system, e.g. a company's own. */
export interface ForeignIssuer {
  /** The `iss` of its tokens. */
  issuer: string
  /** Their `aud`: this system's name there. It tells them from tokens for others, ID tokens among them. */
  audience: string
  /** Where its keys are, an https URL. A token has to name its key (`kid`) where more than one of them fits its algorithm. */
  jwksUri: string
  /** @default ES256 and RS256 */
  algorithms?: readonly TokenAlgorithm[]
}

type Contracted = Pick<ServiceDefinition, 'contract'>
type Members = Pick<SystemDefinition, 'services' | 'users'>

/** Whether a service has operations for users. */
export const servesUsers = (service: Contracted): boolean => hasOperation(service, ({ auth }) => auth === 'user')

/** Whether a service issues access tokens: it publishes the keys that verify them. */
export const issuesTokens = (service: Contracted): boolean =>
  hasOperation(service, ({ method, path }) => method === jwksOperation.method && path === jwksOperation.path)

/** Whether a service verifies access tokens by keys that it fetches. An issuer has its own. */
export const fetchesUserKeys = (service: Contracted): boolean => servesUsers(service) && !issuesTokens(service)

export const foreignIssuerOf = ({ users }: Pick<SystemDefinition, 'users'>): ForeignIssuer | undefined =>
  users && 'jwksUri' in users ? users : undefined

/** The service of the system whose keys another fetches: an edge that nobody has to write. */
export const keysCalleeOf = ({ users }: Pick<SystemDefinition, 'users'>, service: ServiceDefinition): ServiceDefinition | undefined =>
  users && 'contract' in users && fetchesUserKeys(service) ? users : undefined

/** What is wrong with the issuer of users' tokens, for the services that need one. */
export function usersProblems({ services, users }: Members): string[] {
  const asking = services.filter(servesUsers)
  if (!users)
    return asking.map(
      ({ name, contract }) =>
        `${name} has auth 'user' (${Object.keys(contract).find(operation => contract[operation]?.auth === 'user')}), and nobody issues tokens: say ` +
        'users: a service with a jwksOperation, or { issuer, audience, jwksUri }',
    )
  if ('contract' in users) {
    if (!services.includes(users)) return [`users is ${users.name}, which is not in the system`]
    return issuesTokens(users) ? [] : [`users is ${users.name}, which publishes no keys: give its contract a jwksOperation`]
  }
  const { issuer, audience, jwksUri, algorithms } = users
  const problems = Object.entries({ issuer, jwksUri })
    .filter(([, url]) => URL.parse(url)?.protocol !== 'https:')
    .map(([member, url]) => `users.${member} is ${url || 'empty'}, which is no https URL`)
  if (algorithms?.length === 0) problems.push('users.algorithms is empty: leave it out for ES256 and RS256')
  if (!audience) problems.push('users.audience is empty: it tells tokens for this system from others of the issuer')
  return problems
}
