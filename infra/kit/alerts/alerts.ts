import { callersOf } from '@fairlead/chassis'
import type { IPrometheusRule } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule'
import type { ApiObject } from 'cdk8s'
import { Construct } from 'constructs'
import { type ServiceProps, serviceOwner } from '../objects/context.ts'
import { kubeObject } from '../objects/object.ts'
import { healthAlerts } from './health-alerts.ts'
import { burnAlerts, errorBudgets, indicators } from './slo-alerts.ts'

/** What can go wrong with a service, as far as its metrics tell: its objectives, its budgets, and the state of its pods. */
export class Alerts extends Construct {
  /** The PrometheusRule. */
  readonly rules: ApiObject

  constructor(scope: Construct, id: string, props: ServiceProps) {
    super(scope, id)
    const { system, settings, service } = props
    this.rules = kubeObject<IPrometheusRule>(this, serviceOwner(props), {
      apiVersion: 'monitoring.coreos.com/v1',
      kind: 'PrometheusRule',
      metadata: { name: service.name, namespace: settings.NAMESPACE, labels: settings.MONITORING_LABELS },
      spec: {
        groups: [
          { name: `${service.name}-slo`, interval: '30s', rules: [...indicators(service, settings), ...burnAlerts(service, settings)] },
          { name: `${service.name}-budget`, ...errorBudgets(service, settings) },
          { name: `${service.name}-health`, interval: '30s', rules: healthAlerts(service, callersOf(system, service), settings) },
        ],
      },
    })
  }
}
