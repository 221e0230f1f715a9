import type { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { kubeObject, type Owner } from '../objects/object.ts'
import type { PlatformContext } from '../objects/platform-owner.ts'
import { TRAEFIK_PORTS } from '../settings/ports.ts'

const GROUP = 'gateway.networking.k8s.io'
const READ = ['get', 'list', 'watch']

/** The class that Traefik serves, and one Gateway of it, for routes of the services' namespace: https://gateway-api.sigs.k8s.io/reference/spec */
export function addGateway(scope: Construct, { settings }: PlatformContext, owner: Owner): void {
  const apiVersion = `${GROUP}/v1`
  kubeObject(scope, owner, {
    apiVersion,
    kind: 'GatewayClass',
    metadata: { name: settings.INGRESS_CLASS },
    spec: { controllerName: 'traefik.io/gateway-controller' },
  } as never)
  const listener = {
    hostname: settings.HOST,
    allowedRoutes: { namespaces: { from: 'Selector', selector: { matchLabels: { 'kubernetes.io/metadata.name': settings.NAMESPACE } } } },
  }
  kubeObject(scope, owner, {
    apiVersion,
    kind: 'Gateway',
    metadata: { name: settings.GATEWAY, namespace: settings.INGRESS_NAMESPACE },
    spec: {
      gatewayClassName: settings.INGRESS_CLASS,
      // By these ports Traefik finds the entry points, with all that they do to a request; clients see the node's.
      listeners: [
        { ...listener, name: 'web', port: TRAEFIK_PORTS.http, protocol: 'HTTP' },
        {
          ...listener,
          name: 'websecure',
          port: TRAEFIK_PORTS.https,
          protocol: 'HTTPS',
          tls: { mode: 'Terminate', certificateRefs: [{ group: '', kind: 'Secret', name: settings.TLS_SECRET }] },
        },
      ],
    },
  } as never)
}

/** What Traefik's provider watches in a namespace, whether there is any of it or not, and where it says what became of it. */
export const gatewayRules: k8s.PolicyRule[] = [
  { apiGroups: [''], resources: ['services', 'configmaps'], verbs: READ },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
  { apiGroups: [GROUP], resources: ['gateways', 'httproutes', 'grpcroutes', 'referencegrants', 'backendtlspolicies'], verbs: READ },
  { apiGroups: [GROUP], resources: ['gateways/status', 'httproutes/status'], verbs: ['update'] },
]

export const gatewayClusterRules: k8s.PolicyRule[] = [
  { apiGroups: [''], resources: ['namespaces'], verbs: READ },
  { apiGroups: [GROUP], resources: ['gatewayclasses'], verbs: READ },
  { apiGroups: [GROUP], resources: ['gatewayclasses/status'], verbs: ['update'] },
]
