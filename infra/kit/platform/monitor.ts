import type { IServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor'
import type { Construct } from 'constructs'
import { kubeObject, type Owner, selectorOf } from '../objects/object.ts'
import type { Settings } from '../settings/settings.ts'

/** Scrapes a program of the platform on a named port of its Service. */
export function addMonitor(scope: Construct, owner: Owner, namespace: string, port: string, { MONITORING_LABELS }: Settings): void {
  kubeObject<IServiceMonitor>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'ServiceMonitor',
    metadata: { name: owner.name, namespace, labels: MONITORING_LABELS },
    spec: {
      jobLabel: 'app.kubernetes.io/name',
      selector: { matchLabels: selectorOf(owner) },
      namespaceSelector: { matchNames: [namespace] },
      endpoints: [{ port, path: '/metrics', interval: '15s' }],
    },
  })
}
