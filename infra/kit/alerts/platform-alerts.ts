import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import type { Construct } from 'constructs'
import { kubeObject, type Owner } from '../objects/object.ts'
import type { Settings } from '../settings/settings.ts'
import { type Alert, alertRule } from './alert.ts'

/** The name that kube-prometheus gave it, so that receivers which know it need no change. */
export const WATCHDOG = 'Watchdog'

/** Programs that nobody else would miss, and how bad it is without them. */
const programs = ({
  INGRESS_NAMESPACE,
  MONITORING_NAMESPACE,
  TRACING_NAMESPACE,
}: Settings): [name: string, namespace: string, Alert['severity']][] => [
  ['traefik', INGRESS_NAMESPACE, 'page'],
  ['jaeger', TRACING_NAMESPACE, 'ticket'],
  ['alertmanager', MONITORING_NAMESPACE, 'ticket'],
  ['prometheus-operator', MONITORING_NAMESPACE, 'ticket'],
]

/** Alerts about the platform: each program that is away, and one that fires always. */
export function addPlatformAlerts(scope: Construct, owner: Owner, settings: Settings): void {
  const down = programs(settings).map(
    ([name, namespace, severity]): Alert => ({
      alert: 'PlatformDown',
      severity,
      labels: { service: name },
      expr: `absent(up{job="${name}",namespace="${namespace}"} == 1)`,
      for: '3m',
      summary: `${name} is down`,
      description: `No pod of ${name} in ${namespace} answers Prometheus.`,
      runbook: 'platform-down',
    }),
  )
  const watchdog: Alert = {
    alert: WATCHDOG,
    severity: 'none',
    labels: { service: owner.name },
    expr: 'vector(1)',
    for: '0m',
    summary: 'Alerts get through',
    description: 'This alert fires always. Where it is missing, the way from Prometheus to its receiver is broken.',
    runbook: 'watchdog',
  }
  kubeObject<IPrometheusRule>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: owner.name, namespace: settings.MONITORING_NAMESPACE, labels: settings.MONITORING_LABELS },
    spec: { groups: [{ name: 'platform-health', interval: '30s', rules: [...down, watchdog].map(alert => alertRule(alert, settings)) }] },
  })
}
