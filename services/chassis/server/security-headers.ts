import type { Middleware } from 'koa'

export const SECURITY_HEADERS = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

/** What an API that serves no pages sends with every answer, errors included; a handler may loosen `cache-control`. */
export function securityHeaders(): Middleware {
  return (ctx, next) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) ctx.res.setHeader(name, value)
    return next()
  }
}
