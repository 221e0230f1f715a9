import type { PlatformContext } from '../objects/platform-owner.ts'

const PORT = 6_443
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Where Traefik's providers think the API server is. */
export const API_ENDPOINT = `http://127.0.0.1:${PORT}`

/** An entry point of the pod alone, for its own requests: nothing of it is counted, traced or waited for. */
export const apiEntryPoint = [
  `--entryPoints.api.address=127.0.0.1:${PORT}`,
  ...['accessLogs', 'metrics', 'tracing'].map(what => `--entryPoints.api.observability.${what}=false`),
  // A watch of the API server's lasts for minutes, and its request is read at once.
  '--entryPoints.api.transport.respondingTimeouts.readTimeout=0',
  '--entryPoints.api.transport.lifeCycle.graceTimeOut=1s',
]

/**
 * Traefik's providers list every Secret of each namespace that they watch, cannot be told not to, and never serve a route when they may
 * not. Kubernetes cannot narrow such a right to one name. So they ask the API server through Traefik itself, which puts the namespace of
 * the ingress, whose one Secret is the certificate, in place of the services'. The token is the caller's: who reaches this has no right.
 */
export const apiRoutes = ({ settings }: PlatformContext) => ({
  middlewares: { 'own-secrets': { replacePath: { path: `/api/v1/namespaces/${settings.INGRESS_NAMESPACE}/secrets` } } },
  routers: {
    api: { rule: 'PathPrefix(`/`)', priority: 1, entryPoints: ['api'], service: 'api' },
    'api-secrets': {
      rule: `Path(\`/api/v1/namespaces/${settings.NAMESPACE}/secrets\`)`,
      priority: 2,
      entryPoints: ['api'],
      middlewares: ['own-secrets'],
      service: 'api',
    },
  },
  services: {
    api: { loadBalancer: { servers: [{ url: 'https://kubernetes.default.svc' }], passHostHeader: false, serversTransport: 'api' } },
  },
  serversTransports: { api: { rootCAs: [`${ACCOUNT}/ca.crt`] } },
})
