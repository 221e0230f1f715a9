import { isIPv6 } from 'node:net'
import type { Middleware } from 'koa'

/**
 * The caller's address as far as trusted proxies tell it: with n of them the nth entry from the right of X-Forwarded-For, since
 * everything further left is the caller's own claim.
 */
export function clientAddress(trustedHops: number): Middleware {
  return (ctx, next) => {
    const address = trustedHops > 0 ? ctx.get('x-forwarded-for').split(',').at(-trustedHops)?.trim() : undefined
    ctx.state.address = () => normalizeAddress(address || (ctx.req.socket.remoteAddress ?? ''))
    return next()
  }
}

/** IPv4 as it is, IPv6 as its /64 (one household or host owns it whole, RFC 6177), IPv4-mapped as IPv4. */
export function normalizeAddress(address: string): string {
  const [bare = ''] = address.split('%', 1)
  if (!isIPv6(bare)) return address
  // URL has one way to write an address (RFC 5952), in which an IPv4 part is hex too.
  const [left = [], right = []] = new URL(`http://[${bare}]`).hostname
    .slice(1, -1)
    .split('::')
    .map(half => half.split(':').filter(Boolean))
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  if (groups.slice(0, 6).join(':') === '0:0:0:0:0:ffff') return groups.slice(6).flatMap(toBytes).join('.')
  return `${groups.slice(0, 4).join(':')}::/64`
}

const toBytes = (group: string) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]
