import { callersOf, type ServiceDefinition } from '@fairlead/chassis'
import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import type { Construct } from 'constructs'
import { type Context, serviceOwner } from '../objects/context.ts'
import { kubeObject } from '../objects/object.ts'
import { healthAlerts } from './health-alerts.ts'
import { burnAlerts, errorBudgets, indicators } from './slo-alerts.ts'

/** What can go wrong with a service, as far as its metrics tell. */
export function addAlerts(scope: Construct, context: Context, service: ServiceDefinition): void {
  const { settings } = context
  kubeObject<IPrometheusRule>(scope, serviceOwner(context, service), {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: service.name, namespace: settings.NAMESPACE, labels: settings.MONITORING_LABELS },
    spec: {
      groups: [
        { name: `${service.name}-slo`, interval: '30s', rules: [...indicators(service, settings), ...burnAlerts(service, settings)] },
        { name: `${service.name}-budget`, ...errorBudgets(service, settings) },
        { name: `${service.name}-health`, interval: '30s', rules: healthAlerts(service, callersOf(context.system, service), settings) },
      ],
    },
  })
}
