import { MAX_HEAD_BYTES } from '@fairlead/chassis'
import type { PlatformContext } from '../objects/platform-owner.ts'
import { TRAEFIK_ADMIN_PORT, TRAEFIK_PORTS } from '../settings/ports.ts'
import { redirectsHttp } from '../settings/settings.ts'
import { API_ENDPOINT, apiEntryPoint } from './traefik-api.ts'
import { entryMiddlewares } from './traefik-config.ts'

/** Left to whoever reads an answer, beyond the time in which it is made. */
const READ_ANSWER_MS = 20_000

/** What Traefik is told when it starts; what it reads again when it changes is in `traefik-config.ts`. */
export function traefikArgs(context: PlatformContext): string[] {
  const { settings } = context
  const idle = `${settings.INGRESS_IDLE_MS}ms`
  return [
    ...entryPoint(context, 'web', TRAEFIK_PORTS.http),
    ...(redirectsHttp(settings) ? [`--entryPoints.web.http.redirections.entryPoint.to=:${settings.HTTPS_PORT}`] : []),
    ...entryPoint(context, 'websecure', TRAEFIK_PORTS.https),
    '--entryPoints.websecure.http.tls=true',
    ...apiEntryPoint,
    `--entryPoints.traefik.address=:${TRAEFIK_ADMIN_PORT}`,
    '--ping.entryPoint=traefik',
    '--metrics.prometheus.entryPoint=traefik',
    // A request that no pod takes is counted by its route alone (traefik#12451).
    '--metrics.prometheus.addRoutersLabels=true',
    `--serversTransport.forwardingTimeouts.idleConnTimeout=${idle}`,
    ...routeProvider(context),
    '--providers.file.directory=/etc/traefik',
    // The bundled ingress traces to the bundled Jaeger alone (settings-rules.ts).
    `--tracing.otlp.grpc.endpoint=${settings.OTLP_ENDPOINT.host}:${settings.OTLP_ENDPOINT.port}`,
    '--tracing.otlp.grpc.insecure=true',
    '--log.format=json',
    '--global.checkNewVersion=false',
    '--global.sendAnonymousUsage=false',
  ]
}

/** Who tells it of routes: Ingress or HTTPRoute objects of the services' namespace. */
function routeProvider({ settings: { ROUTE, NAMESPACE, INGRESS_NAMESPACE } }: PlatformContext): string[] {
  if (ROUTE === 'gateway') {
    const prefix = '--providers.kubernetesGateway'
    return [`${prefix}=true`, `${prefix}.endpoint=${API_ENDPOINT}`, `${prefix}.namespaces=${NAMESPACE},${INGRESS_NAMESPACE}`]
  }
  const prefix = '--providers.kubernetesIngress'
  return [
    `${prefix}=true`,
    `${prefix}.endpoint=${API_ENDPOINT}`,
    `${prefix}.namespaces=${NAMESPACE}`,
    // Kubernetes' own rule: by whole path elements, so that /orders does not cover /orders-report.
    `${prefix}.strictPrefixMatching=true`,
    // A service without a ready pod is 503, not a route that never was.
    `${prefix}.allowEmptyServices=true`,
  ]
}

function entryPoint({ system, settings }: PlatformContext, name: 'web' | 'websecure', port: number): string[] {
  const prefix = `--entryPoints.${name}`
  const longest = Math.max(...system.services.map(({ timeoutMs }) => timeoutMs))
  return [
    `${prefix}.address=:${port}`,
    `${prefix}.asDefault=true`,
    `${prefix}.http.middlewares=${entryMiddlewares(settings, name).join(',')}`,
    `${prefix}.transport.respondingTimeouts.readTimeout=${settings.INGRESS_READ_MS}ms`,
    // From the head of the request to the last byte of the answer.
    `${prefix}.transport.respondingTimeouts.writeTimeout=${settings.INGRESS_READ_MS + longest + READ_ANSWER_MS}ms`,
    // Go's own default is 1 MiB, of which a source could have any number before it is a request.
    `${prefix}.http.maxHeaderBytes=${MAX_HEAD_BYTES}`,
    `${prefix}.transport.respondingTimeouts.idleTimeout=${settings.INGRESS_IDLE_MS}ms`,
    `${prefix}.transport.lifeCycle.graceTimeOut=20s`,
    ...(settings.TRUSTED_PROXIES.length > 0 ? [`${prefix}.forwardedHeaders.trustedIPs=${settings.TRUSTED_PROXIES.join(',')}`] : []),
  ]
}
