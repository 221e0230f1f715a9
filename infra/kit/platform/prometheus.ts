import { ADMIN_PORT } from '@fairlead/chassis'
import type { IAlertmanager } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/Alertmanager'
import type { IPrometheus } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/Prometheus'
import { type k8s, Secret } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { stringify } from 'yaml'
import { addPlatformAlerts } from '../alerts/platform-alerts.ts'
import { PERIOD } from '../alerts/slo-alerts.ts'
import { COLLECTOR_METRICS_PORT } from '../constructs/tracing-sidecar.ts'
import { addNetworkPolicy, podsOf } from '../objects/network-policies.ts'
import { kubeObject, labelsOf, make, type Owner } from '../objects/object.ts'
import { type PlatformContext, platformOwner } from '../objects/platform-owner.ts'
import { amounts, podSecurity } from '../objects/restricted.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { imagesFor } from '../settings/images.ts'
import { ALERTMANAGER_PORT, ALERTMANAGER_SECRET, JAEGER, OPERATOR_PORT, PROMETHEUS_PORT, TRAEFIK_ADMIN_PORT } from '../settings/ports.ts'
import { addMonitor } from './monitor.ts'
import { addPrometheusOperator } from './prometheus-operator.ts'
import { apiServer, bindRole } from './rbac.ts'
import { addService } from './service.ts'

/** The operator makes these pods, so no file has them. */
const podsByOperator = { 'kube-score/ignore': 'service-targets-pod,networkpolicy-targets-pod' }

/** The operator, one Prometheus for the system and the platform, and one Alertmanager. */
export function addMonitoring(scope: Construct, context: PlatformContext): void {
  addPrometheusOperator(scope, context)
  addPrometheus(scope, context)
  addAlertmanager(scope, context)
}

/** Where Prometheus finds what it scrapes, and rules. */
export const watchedNamespaces = ({ settings }: PlatformContext): string[] => [
  ...new Set([settings.NAMESPACE, settings.INGRESS_NAMESPACE, settings.MONITORING_NAMESPACE, settings.TRACING_NAMESPACE]),
]

function addPrometheus(scope: Construct, context: PlatformContext): void {
  const { system, settings } = context
  const namespace = settings.MONITORING_NAMESPACE
  const owner = platformOwner('prometheus', 'monitoring', 'prometheus', settings)
  const everywhere = { matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In' as const, values: watchedNamespaces(context) }] }
  addServiceAccount(scope, owner, namespace)
  const rules: k8s.PolicyRule[] = [
    { apiGroups: [''], resources: ['services', 'pods'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
  ]
  for (const watched of watchedNamespaces(context)) bindRole(scope, owner, { namespace: watched, account: namespace, rules })
  kubeObject<IPrometheus>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'Prometheus',
    metadata: { name: 'prometheus', namespace },
    spec: {
      image: imagesFor(settings).prometheus,
      version: owner.version,
      replicas: 1,
      serviceAccountName: owner.name,
      podMetadata: { labels: labelsOf(owner) },
      securityContext: podSecurity(),
      resources: amounts({ cpu: '50m', memory: '200Mi' }, { cpu: '1', memory: '512Mi' }, { usual: '1Gi', most: '1200Mi' }),
      scrapeInterval: '15s',
      evaluationInterval: '15s',
      // What error budgets look back to; the size is what ends it sooner.
      retention: PERIOD,
      retentionSize: '800MB',
      enableFeatures: ['exemplar-storage'],
      serviceDiscoveryRole: 'EndpointSlice',
      serviceMonitorSelector: {},
      serviceMonitorNamespaceSelector: everywhere,
      podMonitorSelector: {},
      podMonitorNamespaceSelector: everywhere,
      ruleSelector: {},
      ruleNamespaceSelector: everywhere,
      alerting: { alertmanagers: [{ name: 'alertmanager', namespace, port: 'web' }] },
      storage: { emptyDir: { sizeLimit: '1Gi' } },
    },
  })
  addService(scope, owner, namespace, { web: PROMETHEUS_PORT }, podsByOperator)
  addMonitor(scope, owner, namespace, 'web', settings)
  addPlatformAlerts(scope, owner, settings)
  const scraped = [
    ...system.services.map(({ name }) => ({ peer: podsOf(name, settings.NAMESPACE), ports: [ADMIN_PORT, COLLECTOR_METRICS_PORT] })),
    { peer: podsOf('traefik', settings.INGRESS_NAMESPACE), ports: [TRAEFIK_ADMIN_PORT] },
    { peer: podsOf('jaeger', settings.TRACING_NAMESPACE), ports: [JAEGER.metrics] },
    { peer: podsOf('prometheus-operator'), ports: [OPERATOR_PORT] },
    { peer: podsOf('alertmanager'), ports: [ALERTMANAGER_PORT] },
    { peer: podsOf('prometheus'), ports: [PROMETHEUS_PORT] },
  ]
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: [
      { peer: podsOf('grafana'), ports: [PROMETHEUS_PORT] },
      { peer: podsOf('prometheus'), ports: [PROMETHEUS_PORT] },
    ],
    egress: [...scraped, ...apiServer(settings)],
    annotations: podsByOperator,
  })
}

function addAlertmanager(scope: Construct, { settings }: PlatformContext): void {
  const namespace = settings.MONITORING_NAMESPACE
  const owner = platformOwner('alertmanager', 'monitoring', 'alertmanager', settings)
  addServiceAccount(scope, owner, namespace)
  if (!settings.ALERTS_SECRET) tellNobody(scope, owner, namespace)
  kubeObject<IAlertmanager>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'Alertmanager',
    metadata: { name: 'alertmanager', namespace },
    spec: {
      image: imagesFor(settings).alertmanager,
      version: owner.version,
      replicas: 1,
      serviceAccountName: owner.name,
      automountServiceAccountToken: false,
      podMetadata: { labels: labelsOf(owner) },
      securityContext: podSecurity(),
      resources: amounts({ cpu: '10m', memory: '32Mi' }, { cpu: '200m', memory: '128Mi' }),
      ...(settings.ALERTS_SECRET && { configSecret: settings.ALERTS_SECRET }),
    },
  })
  addService(scope, owner, namespace, { web: ALERTMANAGER_PORT }, podsByOperator)
  addMonitor(scope, owner, namespace, 'web', settings)
  addNetworkPolicy(scope, settings, owner, namespace, {
    ingress: [{ peer: podsOf('prometheus'), ports: [ALERTMANAGER_PORT] }],
    egress: settings.ALERTS_TO.map(({ peer, port }) => ({ peer, ports: [port] })),
    annotations: podsByOperator,
  })
}

/** A configuration without receivers. It holds no secret, but the operator reads it from this kind only. */
function tellNobody(scope: Construct, owner: Owner, namespace: string): void {
  make(Secret, scope, owner, {
    metadata: { name: ALERTMANAGER_SECRET, namespace },
    stringData: {
      'alertmanager.yaml': stringify({
        route: { receiver: 'none', group_by: ['alertname', 'namespace', 'service'], group_wait: '10s', group_interval: '1m', repeat_interval: '4h' },
        receivers: [{ name: 'none' }],
      }),
    },
  })
}
