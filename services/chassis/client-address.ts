import { isIPv6 } from 'node:net'
import type { Middleware } from 'koa'

/**
 * The caller's address as far as trusted proxies tell it: with n of them the nth entry from the right of X-Forwarded-For, since
 * everything further left is the caller's own claim.
 */
export function clientAddress(trustedHops: number): Middleware {
  return (ctx, next) => {
    const hops = ctx
      .get('x-forwarded-for')
      .split(',')
      .map(hop => hop.trim())
      .filter(Boolean)
    const address = trustedHops > 0 ? hops.at(-trustedHops) : undefined
    ctx.state.address = normalizeAddress(address ?? ctx.req.socket.remoteAddress ?? '')
    return next()
  }
}

/** IPv4 as it is, IPv6 as its /64 (one household or host owns it whole, RFC 6177), IPv4-mapped as IPv4. */
export function normalizeAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped) return mapped
  const [bare = ''] = address.split('%', 1)
  if (!isIPv6(bare)) return address
  const [head = '', tail] = bare.toLowerCase().split('::') as [string, string?]
  const left = head.split(':').filter(Boolean)
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean)
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill('0'), ...right]
  return `${groups
    .slice(0, 4)
    .map(group => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
