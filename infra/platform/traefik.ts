import { createHash } from 'node:crypto'
import type { Construct } from 'constructs'
import type { IIngressClass } from 'kubernetes-models/networking.k8s.io/v1/IngressClass'
import type { IRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/Role'
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { stringify } from 'yaml'
import { DEADLINE_HEADER } from '../../services/chassis/deadline.ts'
import { entryServices } from '../constructs/ingress.ts'
import { addNamespace } from '../constructs/namespace.ts'
import { addNetworkPolicy, podsOf } from '../constructs/network-policies.ts'
import { kubeObject } from '../constructs/object.ts'
import { resources } from '../constructs/restricted.ts'
import { addServiceAccount } from '../constructs/service-account.ts'
import { images } from './images.ts'
import { addIngressAlerts } from './ingress-alerts.ts'
import { addMonitor } from './monitor.ts'
import { type PlatformContext, platformOwner } from './owner.ts'
import { addProgram } from './pod.ts'
import { JAEGER, TRAEFIK_ADMIN_PORT } from './ports.ts'
import { apiServer, bindClusterRole, bindRole } from './rbac.ts'
import { addService } from './service.ts'

const HTTP = 8_000
const HTTPS = 8_443
const READ = ['get', 'list', 'watch']

/** The way in. It binds the node's ports 80 and 443, which is the one thing here that Pod Security `restricted` refuses. */
export function addTraefik(scope: Construct, context: PlatformContext): void {
  const { settings } = context
  const namespace = settings.INGRESS_NAMESPACE
  const owner = platformOwner('traefik', 'ingress', images.traefik)
  addNamespace(scope, { ...owner, name: namespace }, 'privileged')
  addServiceAccount(scope, owner, namespace)
  kubeObject<IIngressClass>(scope, owner, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name: settings.INGRESS_CLASS },
    spec: { controller: 'traefik.io/ingress-controller' },
  })
  addAccess(scope, context)

  const middlewares = stringify({
    // A deadline is between services; a stranger's would let anybody cut requests short in the middle of a transaction.
    http: { middlewares: { 'strip-deadline': { headers: { customRequestHeaders: { [DEADLINE_HEADER]: '' } } } } },
  })
  kubeObject<IConfigMap>(scope, owner, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'traefik', namespace },
    data: { 'middlewares.yaml': middlewares },
  })
  addProgram(scope, owner, {
    namespace,
    image: images.traefik,
    args: argsFor(context),
    ports: { http: HTTP, https: HTTPS, admin: TRAEFIK_ADMIN_PORT },
    hostPorts: { http: 80, https: 443 },
    ready: { path: '/ping', port: 'admin' },
    resources: resources({ cpu: '50m', memory: '64Mi' }, { cpu: '1', memory: '256Mi' }),
    config: { '/etc/traefik': 'traefik' },
    checksum: createHash('sha256').update(middlewares).digest('hex').slice(0, 16),
    api: true,
    lifecycle: { preStop: { sleep: { seconds: 5 } } },
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
  addNetworkPolicy(scope, owner, namespace, {
    ingress: [{ ports: [HTTP, HTTPS] }, { peer: podsOf('prometheus', settings.MONITORING_NAMESPACE), ports: [TRAEFIK_ADMIN_PORT] }],
    egress: [...entries, { peer: podsOf('jaeger', settings.TRACING_NAMESPACE), ports: [JAEGER.otlp] }, apiServer],
  })
}

function argsFor({ settings }: PlatformContext): string[] {
  const idle = `${settings.INGRESS_IDLE_MS}ms`
  const entryPoint = (name: string, port: number) => [
    `--entryPoints.${name}.address=:${port}`,
    `--entryPoints.${name}.http.middlewares=strip-deadline@file`,
    `--entryPoints.${name}.transport.respondingTimeouts.idleTimeout=${idle}`,
    `--entryPoints.${name}.transport.lifeCycle.graceTimeOut=20s`,
  ]
  return [
    ...entryPoint('web', HTTP),
    ...entryPoint('websecure', HTTPS),
    '--entryPoints.websecure.http.tls=true',
    `--entryPoints.traefik.address=:${TRAEFIK_ADMIN_PORT}`,
    '--ping.entryPoint=traefik',
    '--metrics.prometheus.entryPoint=traefik',
    // A request that no pod takes is counted by its route alone (traefik#12451).
    '--metrics.prometheus.addRoutersLabels=true',
    `--serversTransport.forwardingTimeouts.idleConnTimeout=${idle}`,
    '--providers.kubernetesIngress=true',
    `--providers.kubernetesIngress.namespaces=${settings.NAMESPACE}`,
    // Kubernetes' own rule: by whole path elements, so that /orders does not cover /orders-report.
    '--providers.kubernetesIngress.strictPrefixMatching=true',
    // A service without a ready pod is 503, not a route that never was.
    '--providers.kubernetesIngress.allowEmptyServices=true',
    '--providers.file.directory=/etc/traefik',
    `--tracing.otlp.grpc.endpoint=${new URL(settings.OTLP_ENDPOINT).host}`,
    '--tracing.otlp.grpc.insecure=true',
    '--log.format=json',
    '--global.checkNewVersion=false',
    '--global.sendAnonymousUsage=false',
  ]
}

/** Reads what routes the shop, there only; classes and nodes are nobody's namespace. */
function addAccess(scope: Construct, { settings }: PlatformContext): void {
  const owner = platformOwner('traefik', 'ingress', images.traefik)
  const rules: IRole['rules'] = [
    { apiGroups: [''], resources: ['services', 'secrets'], verbs: READ },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
    { apiGroups: ['networking.k8s.io'], resources: ['ingresses'], verbs: READ },
  ]
  bindRole(scope, owner, { namespace: settings.NAMESPACE, account: settings.INGRESS_NAMESPACE, rules })
  // For its traces, in which it names its pod.
  const own: IRole['rules'] = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]
  bindRole(scope, owner, { namespace: settings.INGRESS_NAMESPACE, account: settings.INGRESS_NAMESPACE, rules: own })
  bindClusterRole(scope, owner, {
    account: settings.INGRESS_NAMESPACE,
    rules: [
      { apiGroups: [''], resources: ['nodes'], verbs: READ },
      { apiGroups: ['networking.k8s.io'], resources: ['ingressclasses'], verbs: READ },
    ],
  })
}
