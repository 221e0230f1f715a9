import { ConfigMap, k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { stringify } from 'yaml'
import { addIngressAlerts } from '../alerts/ingress-alerts.ts'
import { entryServices } from '../constructs/ingress.ts'
import { addNamespace } from '../objects/namespace.ts'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { sleepBeforeStop } from '../objects/newer-fields.ts'
import { make } from '../objects/object.ts'
import { type PlatformContext, platformOwner } from '../objects/platform-owner.ts'
import { resources } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { type ImageSettings, imagesFor } from '../settings/images.ts'
import { JAEGER, TRAEFIK_ADMIN_PORT, TRAEFIK_PORTS } from '../settings/ports.ts'
import type { Settings } from '../settings/settings.ts'
import { addGateway, gatewayClusterRules, gatewayRules } from './gateway.ts'
import { addMonitor } from './monitor.ts'
import { addProgram } from './pod.ts'
import { apiServer, bindClusterRole, bindRole } from './rbac.ts'
import { addService } from './service.ts'
import { traefikArgs } from './traefik-args.ts'
import { traefikConfig } from './traefik-config.ts'

const READ = ['get', 'list', 'watch']

const traefik = (settings: ImageSettings) => platformOwner('traefik', 'ingress', 'traefik', settings)

/** The one namespace whose pods may bind ports of the node. */
export const addIngressNamespace = (scope: Construct, settings: Settings): void =>
  addNamespace(scope, { ...traefik(settings), name: settings.INGRESS_NAMESPACE }, 'privileged')

/** The way in. It binds the node's ports 80 and 443, which is the one thing here that Pod Security `restricted` refuses. */
export function addTraefik(scope: Construct, context: PlatformContext): void {
  const { settings } = context
  const namespace = settings.INGRESS_NAMESPACE
  const owner = traefik(settings)
  addIngressNamespace(scope, settings)
  addServiceAccount(scope, owner, namespace)
  if (settings.ROUTE === 'gateway') addGateway(scope, context, owner)
  else addIngressClass(scope, settings)
  addAccess(scope, context)

  make(ConfigMap, scope, owner, {
    metadata: { name: 'traefik', namespace },
    // Read again when it changes: a new service needs no restart of the one way in.
    data: { 'dynamic.yaml': stringify(traefikConfig(context)) },
  })
  addProgram(scope, owner, {
    namespace,
    image: imagesFor(settings).traefik,
    args: traefikArgs(context),
    ports: { ...TRAEFIK_PORTS, admin: TRAEFIK_ADMIN_PORT },
    hostPorts: { http: 80, https: 443 },
    ready: { path: '/ping', port: 'admin' },
    resources: resources({ cpu: '50m', memory: '64Mi' }, { cpu: '1', memory: '256Mi' }),
    config: { '/etc/traefik': { configMap: 'traefik', secret: settings.TLS_SECRET } },
    api: true,
    lifecycle: sleepBeforeStop(5),
    pod: {
      terminationGracePeriodSeconds: 40,
      // kind maps the ports of its control plane.
      tolerations: [{ key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' }],
      affinity: {
        nodeAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 100, preference: { matchExpressions: [{ key: 'node-role.kubernetes.io/control-plane', operator: 'Exists' }] } },
          ],
        },
      },
    },
  })
  addService(scope, owner, namespace, { http: 80, https: 443, admin: TRAEFIK_ADMIN_PORT })
  addMonitor(scope, owner, namespace, 'admin', settings)
  addIngressAlerts(scope, context, owner)
  const entries = entryServices(context).map(({ name, port }) => ({ peer: podsOf(name, settings.NAMESPACE), ports: [port] }))
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: [{ ports: Object.values(TRAEFIK_PORTS) }, { peer: podsOf('prometheus', settings.MONITORING_NAMESPACE), ports: [TRAEFIK_ADMIN_PORT] }],
    egress: [...entries, { peer: podsOf('jaeger', settings.TRACING_NAMESPACE), ports: [JAEGER.otlp] }, ...apiServer(settings)],
  })
}

function addIngressClass(scope: Construct, settings: Settings): void {
  make(k8s.KubeIngressClass, scope, traefik(settings), {
    metadata: { name: settings.INGRESS_CLASS },
    spec: { controller: 'traefik.io/ingress-controller' },
  })
}

const ingressRules: k8s.PolicyRule[] = [
  { apiGroups: [''], resources: ['services'], verbs: READ },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
  { apiGroups: ['networking.k8s.io'], resources: ['ingresses'], verbs: READ },
]
const ingressClusterRules: k8s.PolicyRule[] = [
  { apiGroups: [''], resources: ['nodes'], verbs: READ },
  { apiGroups: ['networking.k8s.io'], resources: ['ingressclasses'], verbs: READ },
]

/**
 * Reads what routes to the services, there only; classes and nodes are nobody's namespace. Secrets it can list in its own namespace alone, which
 * has its certificate and no other (traefik-api.ts).
 */
function addAccess(scope: Construct, { settings }: PlatformContext): void {
  const account = settings.INGRESS_NAMESPACE
  const gateway = settings.ROUTE === 'gateway'
  bindRole(scope, traefik(settings), { namespace: settings.NAMESPACE, account, rules: gateway ? gatewayRules : ingressRules })
  const own: k8s.PolicyRule[] = [
    { apiGroups: [''], resources: ['secrets'], verbs: READ },
    // For its traces, in which it names its pod.
    { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
  ]
  bindRole(scope, traefik(settings), { namespace: account, account, rules: gateway ? [...own, ...gatewayRules] : own })
  bindClusterRole(scope, traefik(settings), { account, rules: gateway ? gatewayClusterRules : ingressClusterRules })
}
