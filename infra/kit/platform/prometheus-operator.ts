import type { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { type PlatformContext, platformOwner } from '../objects/platform-owner.ts'
import { resources } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor } from '../settings/images.ts'
import { OPERATOR_PORT } from '../settings/ports.ts'
import { addMonitor } from './monitor.ts'
import { addProgram } from './pod.ts'
import { watchedNamespaces } from './prometheus.ts'
import { apiServer, bindClusterRole, bindRole } from './rbac.ts'
import { addService } from './service.ts'

/** Makes StatefulSets of Prometheus and Alertmanager objects, in its own namespace only, and reads monitors and rules of the watched ones. */
export function addPrometheusOperator(scope: Construct, context: PlatformContext): void {
  const { settings } = context
  const namespace = settings.MONITORING_NAMESPACE
  const owner = platformOwner('prometheus-operator', 'monitoring', 'prometheusOperator', settings)
  addServiceAccount(scope, owner, namespace)
  addAccess(scope, context)
  addProgram(scope, owner, {
    namespace,
    image: imagesFor(settings).prometheusOperator,
    args: [
      `--prometheus-config-reloader=${imagesFor(settings).prometheusConfigReloader}`,
      '--config-reloader-cpu-request=10m',
      '--config-reloader-cpu-limit=100m',
      '--config-reloader-memory-request=25Mi',
      '--config-reloader-memory-limit=50Mi',
      `--namespaces=${watchedNamespaces(context).join(',')}`,
      `--prometheus-instance-namespaces=${namespace}`,
      `--alertmanager-instance-namespaces=${namespace}`,
      `--thanos-ruler-instance-namespaces=${namespace}`,
      `--alertmanager-config-namespaces=${namespace}`,
      '--kubelet-endpoints=false',
      '--log-format=json',
    ],
    ports: { web: OPERATOR_PORT },
    ready: { path: '/healthz', port: 'web' },
    resources: resources({ cpu: '20m', memory: '48Mi' }, { cpu: '500m', memory: '192Mi' }),
    api: true,
  })
  addService(scope, owner, namespace, { web: OPERATOR_PORT })
  addMonitor(scope, owner, namespace, 'web', settings)
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: [{ peer: podsOf('prometheus'), ports: [OPERATOR_PORT] }],
    egress: apiServer(settings),
  })
}

function addAccess(scope: Construct, context: PlatformContext): void {
  const { settings } = context
  const account = settings.MONITORING_NAMESPACE
  const owner = platformOwner('prometheus-operator', 'monitoring', 'prometheusOperator', settings)
  const read = ['get', 'list', 'watch']
  const write = [...read, 'create', 'update', 'patch', 'delete']
  const monitoring: k8s.PolicyRule = {
    apiGroups: ['monitoring.coreos.com'],
    resources: ['*'],
    verbs: [...read, 'update', 'patch'],
  }
  for (const namespace of watchedNamespaces(context)) {
    const own = namespace === account
    bindRole(scope, owner, {
      namespace,
      account,
      rules: [
        monitoring,
        { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
        { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
        ...(own
          ? [
              { apiGroups: ['apps'], resources: ['statefulsets'], verbs: write },
              { apiGroups: [''], resources: ['configmaps', 'secrets', 'services', 'endpoints', 'services/finalizers'], verbs: write },
              { apiGroups: [''], resources: ['pods'], verbs: ['list', 'delete'] },
              { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: write },
            ]
          : []),
      ],
    })
  }
  bindClusterRole(scope, owner, {
    account,
    rules: [
      { apiGroups: [''], resources: ['namespaces'], verbs: read },
      { apiGroups: ['storage.k8s.io'], resources: ['storageclasses'], verbs: ['get'] },
    ],
  })
}
