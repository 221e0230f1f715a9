import { DEADLINE_HEADER, MAX_BODY_BYTES, type SystemDefinition } from '@fairlead/chassis'
import { entryServices } from '../constructs/ingress.ts'
import { publicPaths } from '../constructs/public-paths.ts'
import type { PlatformContext } from '../objects/platform-owner.ts'
import { redirectsHttp, type Settings } from '../settings/settings.ts'
import { apiRoutes } from './traefik-api.ts'

/** Above the services' own limit, so that theirs is the answer to a body that is a little too large. */
const BODY_MARGIN_BYTES = 1_024
/** Answers are JSON and pages of it; what is larger is an error rather than a file on the ingress' disk. */
const MAX_ANSWER_BYTES = 1 << 20
/** A year, as browsers' preload lists ask for (RFC 6797 section 6.1.1). */
const HSTS_SECONDS = 31_536_000

/** What every request at an entry point goes through, in this order. */
export const entryMiddlewares = (settings: Settings, entryPoint: 'web' | 'websecure'): string[] =>
  [...(entryPoint === 'websecure' && redirectsHttp(settings) ? ['hsts'] : []), 'requests-of-a-source', 'strip-deadline', 'whole-body'].map(
    name => `${name}@file`,
  )

/** What Traefik's file provider reads: middlewares need no custom kinds that way. */
export function traefikConfig(context: PlatformContext) {
  const [none, api] = [untilRoutesAreRead(context), apiRoutes(context)]
  return {
    http: {
      middlewares: { ...middlewares(context), ...api.middlewares },
      routers: { ...none.routers, ...api.routers },
      services: { ...none.services, ...api.services },
      serversTransports: api.serversTransports,
    },
    // Not as the default certificate: without the Secret that would end every TLS handshake, instead of offering Traefik's own.
    tls: { certificates: [{ certFile: '/etc/traefik/tls.crt', keyFile: '/etc/traefik/tls.key' }] },
  }
}

const middlewares = ({ system, settings }: PlatformContext) => ({
  hsts: { headers: { stsSeconds: HSTS_SECONDS } },
  // Whoever sends slowly holds one of a few places of their own, here instead of in a service. Traefik counts per route and entry point.
  'requests-of-a-source': {
    inFlightReq: {
      amount: settings.INGRESS_SOURCE_REQUESTS,
      sourceCriterion: { ipStrategy: { depth: settings.TRUSTED_HOPS - 1, ipv6Subnet: 64 } },
    },
  },
  // A deadline is between services; a stranger's would let anybody cut requests short in the middle of a transaction.
  'strip-deadline': { headers: { customRequestHeaders: { [DEADLINE_HEADER]: '' } } },
  // A service gets a request when all of it is here. In memory only: as much as may be, and no more than that.
  'whole-body': {
    buffering: {
      maxRequestBodyBytes: largestBody(system) + BODY_MARGIN_BYTES,
      memRequestBodyBytes: largestBody(system) + BODY_MARGIN_BYTES,
      maxResponseBodyBytes: MAX_ANSWER_BYTES,
      memResponseBodyBytes: MAX_ANSWER_BYTES,
    },
  },
})

const largestBody = ({ services }: SystemDefinition): number =>
  Math.max(MAX_BODY_BYTES, ...services.flatMap(({ contract }) => Object.values(contract).map(({ maxBodyBytes = 0 }) => maxBodyBytes)))

/** Answers 503 on the public paths as long as no route from the cluster takes them: for a moment after Traefik starts they would be 404. */
function untilRoutesAreRead({ system, settings: { HOST } }: PlatformContext) {
  const paths = entryServices({ system }).flatMap(({ contract }) => publicPaths(contract))
  const rules = paths.map(({ path, type }) =>
    type === 'Exact' ? `Path(\`${path}\`)` : path === '/' ? 'PathPrefix(`/`)' : `Path(\`${path}\`) || PathPrefix(\`${path}/\`)`,
  )
  const name = 'no-route-yet'
  return {
    routers: { [name]: { rule: `Host(\`${HOST}\`) && (${rules.join(' || ')})`, priority: 1, entryPoints: ['web', 'websecure'], service: name } },
    services: { [name]: { loadBalancer: { servers: [] } } },
  }
}
