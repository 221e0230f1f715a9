import type { Middleware } from 'koa'
import type { Contract } from '../contract/contract.ts'
import { unauthorized, type Verifier, type Verifiers } from '../identity/auth.ts'
import type { Match } from './router.ts'

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
