import type { IServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor'
import type { ApiObject } from 'cdk8s'
import type { Construct } from 'constructs'
import { type ServiceProps, serviceOwner } from '../objects/context.ts'
import { kubeObject, selectorOf } from '../objects/object.ts'
import { SCRAPED_PORTS } from './services.ts'

/** Scrapes every pod once: of both Services with the label, only the headless one has these ports. */
export function addServiceMonitor(scope: Construct, props: ServiceProps): ApiObject {
  const owner = serviceOwner(props)
  const { NAMESPACE, MONITORING_LABELS } = props.settings
  return kubeObject<IServiceMonitor>(scope, owner, {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'ServiceMonitor',
    metadata: { name: owner.name, namespace: NAMESPACE, labels: MONITORING_LABELS },
    spec: {
      jobLabel: 'app.kubernetes.io/name',
      selector: { matchLabels: selectorOf(owner) },
      namespaceSelector: { matchNames: [NAMESPACE] },
      endpoints: SCRAPED_PORTS.map(port => ({ port, path: '/metrics', interval: '15s', scrapeTimeout: '10s' })),
    },
  })
}
