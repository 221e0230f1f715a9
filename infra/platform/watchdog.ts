import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import type { Construct } from 'constructs'
import { alertRule } from '../constructs/alert.ts'
import { kubeObject, type Owner } from '../constructs/object.ts'
import type { Settings } from '../settings.ts'

/** The name that kube-prometheus gave it, so that receivers which know it need no change. */
export const WATCHDOG = 'Watchdog'

/** An alert that fires always: where it does not arrive, no other would. Whoever has a dead man's switch routes it there. */
export function addWatchdog(scope: Construct, owner: Owner, settings: Settings): void {
  const rule = alertRule(
    {
      alert: WATCHDOG,
      severity: 'none',
      labels: { service: owner.name },
      expr: 'vector(1)',
      for: '0m',
      summary: 'Alerts get through',
      description: 'This alert fires always. Where it is missing, the way from Prometheus to its receiver is broken.',
      runbook: 'watchdog',
    },
    settings,
  )
  kubeObject<IPrometheusRule>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: owner.name, namespace: settings.MONITORING_NAMESPACE, labels: settings.MONITORING_LABELS },
    spec: { groups: [{ name: `${owner.name}-watchdog`, interval: '30s', rules: [rule] }] },
  })
}
