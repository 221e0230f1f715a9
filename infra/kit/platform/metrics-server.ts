import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { addNetworkPolicy } from '../objects/network-policies.ts'
import { make } from '../objects/object.ts'
import { type PlatformContext, platformOwner } from '../objects/platform-owner.ts'
import { resources } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor } from '../settings/images.ts'
import { addProgram } from './pod.ts'
import { apiServer, bindClusterRole } from './rbac.ts'
import { addService } from './service.ts'

const NAMESPACE = 'kube-system'
const PORT = 10_250

/** What the autoscaler reads. In kube-system, where the API server's aggregation looks for such things. */
export function addMetricsServer(scope: Construct, { settings }: PlatformContext): void {
  const owner = platformOwner('metrics-server', 'autoscaling', 'metricsServer', settings)
  addServiceAccount(scope, owner, NAMESPACE)
  bindClusterRole(scope, owner, {
    account: NAMESPACE,
    rules: [
      { apiGroups: [''], resources: ['nodes/metrics'], verbs: ['get'] },
      { apiGroups: [''], resources: ['pods', 'nodes', 'namespaces', 'configmaps'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
      { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
    ],
  })
  make(k8s.KubeRoleBinding, scope, owner, {
    metadata: { name: 'metrics-server-auth-reader', namespace: NAMESPACE },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'extension-apiserver-authentication-reader' },
    subjects: [{ kind: 'ServiceAccount', name: owner.name, namespace: NAMESPACE }],
  })
  addProgram(scope, owner, {
    namespace: NAMESPACE,
    image: imagesFor(settings).metricsServer,
    args: [
      `--secure-port=${PORT}`,
      '--cert-dir=/tmp',
      '--kubelet-preferred-address-types=InternalIP',
      '--kubelet-use-node-status-port',
      // kind's kubelets sign their certificates themselves; elsewhere the cluster's authority does.
      ...(settings.CLUSTER === 'kind' ? ['--kubelet-insecure-tls'] : []),
      '--metric-resolution=15s',
    ],
    ports: { https: PORT },
    live: { path: '/livez', port: 'https', scheme: 'HTTPS' },
    ready: { path: '/readyz', port: 'https', scheme: 'HTTPS' },
    resources: resources({ cpu: '20m', memory: '32Mi' }, { cpu: '200m', memory: '128Mi' }),
    api: true,
    pod: { priorityClassName: 'system-cluster-critical' },
  })
  addService(scope, owner, NAMESPACE, { https: 443 })
  make(k8s.KubeApiService, scope, owner, {
    metadata: { name: 'v1beta1.metrics.k8s.io' },
    spec: {
      group: 'metrics.k8s.io',
      version: 'v1beta1',
      groupPriorityMinimum: 100,
      versionPriority: 100,
      // The server makes its certificate when it starts.
      insecureSkipTlsVerify: true,
      service: { name: owner.name, namespace: NAMESPACE },
    },
  })
  addNetworkPolicy(scope, settings, owner, NAMESPACE, { ingress: [{ ports: [PORT] }], egress: [...apiServer(settings), { ports: [10_250] }] })
}
