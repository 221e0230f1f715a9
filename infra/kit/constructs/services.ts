import { ADMIN_PORT, podsHost, type ServiceDefinition } from '@fairlead/chassis'
import type { Construct } from 'constructs'
import type { IService } from 'kubernetes-models/v1/Service'
import { type Context, serviceOwner } from '../objects/context.ts'
import { kubeObject, ownPods } from '../objects/object.ts'
import { COLLECTOR_METRICS_PORT } from './tracing-sidecar.ts'

/** Ports of the headless Service that Prometheus scrapes. */
export const SCRAPED_PORTS = ['admin', 'otel-metrics'] as const

/**
 * Two names: `stock` has one address, for the ingress; `stock-pods` has the address of every ready pod, for callers, who spread over
 * them, and for Prometheus, which must see each.
 */
export function addServices(scope: Construct, context: Context, service: ServiceDefinition): void {
  const owner = serviceOwner(context, service)
  const namespace = context.settings.NAMESPACE
  const http = { name: 'http', port: service.port, targetPort: 'http', appProtocol: 'http' }
  kubeObject<IService>(scope, owner, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: service.name, namespace },
    spec: { type: 'ClusterIP', selector: ownPods(owner), ports: [http] },
  })
  kubeObject<IService>(scope, owner, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: podsHost(service), namespace },
    spec: {
      type: 'ClusterIP',
      clusterIP: 'None',
      selector: ownPods(owner),
      ports: [
        http,
        { name: 'admin', port: ADMIN_PORT, targetPort: 'admin' },
        { name: 'otel-metrics', port: COLLECTOR_METRICS_PORT, targetPort: 'otel-metrics' },
      ],
    },
  })
}
