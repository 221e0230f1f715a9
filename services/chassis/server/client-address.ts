import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { Middleware } from 'koa'

/**
 * The caller's address as far as trusted proxies tell it: with n of them the nth entry from the right of X-Forwarded-For, since
 * everything further left is the caller's own claim. An entry that is no address counts as none: then it is the connection's.
 */
export function clientAddress(trustedHops: number): Middleware {
  return (ctx, next) => {
    let address: string | undefined
    ctx.state.address = () => {
      address ??= forwarded(ctx.get('x-forwarded-for'), trustedHops) ?? normalizeAddress(ctx.req.socket.remoteAddress ?? '') ?? ''
      return address
    }
    return next()
  }
}

const forwarded = (header: string, trustedHops: number) =>
  trustedHops > 0 ? normalizeAddress(header.split(',').at(-trustedHops)?.trim() ?? '') : undefined

/** What proxies put around an address: brackets, a port, a zone. */
const DECORATED = /^\[?([0-9a-f:.]{2,45})(?:%[\w.-]{1,16})?\]?(?::\d{1,5})?$/i
const IPV4_WITH_PORT = /^(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}$/

/** IPv4 as it is, IPv6 as its /64 (one household or host owns it whole, RFC 6177), IPv4-mapped as IPv4; without port and zone. */
export function normalizeAddress(text: string): string | undefined {
  const [, bare = ''] = IPV4_WITH_PORT.exec(text) ?? DECORATED.exec(text) ?? []
  // ipaddr.js would take a tenth of a request's time to say so.
  if (isIPv4(bare)) return bare
  if (!ipaddr.IPv6.isValid(bare)) return undefined
  const address = ipaddr.IPv6.parse(bare)
  if (address.isIPv4MappedAddress()) return address.toIPv4Address().toString()
  return `${address.parts
    .slice(0, 4)
    .map(part => part.toString(16))
    .join(':')}::/64`
}
