import { ADMIN_PORT, podsHost } from '@fairlead/chassis'
import { k8s } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { type ServiceProps, serviceOwner } from '../objects/context.ts'
import { make, ownPods } from '../objects/object.ts'
import { COLLECTOR_METRICS_PORT } from './tracing-sidecar.ts'

/** Ports of the headless Service that Prometheus scrapes. */
export const SCRAPED_PORTS = ['admin', 'otel-metrics'] as const

/**
 * Two names: `stock` has one address, for the ingress; `stock-pods` has the address of every ready pod, for callers, who spread over
 * them, and for Prometheus, which must see each.
 */
export function addServices(scope: Construct, props: ServiceProps) {
  const { service, settings } = props
  const owner = serviceOwner(props)
  const namespace = settings.NAMESPACE
  const http = { name: 'http', port: service.port, targetPort: k8s.IntOrString.fromString('http'), appProtocol: 'http' }
  // KEP-3726: HTTP/2 with prior knowledge, without TLS.
  const h2c = { name: 'grpc', targetPort: k8s.IntOrString.fromString('grpc'), appProtocol: 'kubernetes.io/h2c' }
  const served = service.grpc ? [http, { ...h2c, port: service.grpc.port }] : [http]
  const one = make(k8s.KubeService, scope, owner, {
    metadata: { name: service.name, namespace },
    spec: { type: 'ClusterIP', selector: ownPods(owner), ports: served },
  })
  const each = make(k8s.KubeService, scope, owner, {
    metadata: { name: podsHost(service), namespace },
    spec: {
      type: 'ClusterIP',
      clusterIp: 'None',
      selector: ownPods(owner),
      ports: [
        ...served,
        { name: 'admin', port: ADMIN_PORT, targetPort: k8s.IntOrString.fromString('admin') },
        { name: 'otel-metrics', port: COLLECTOR_METRICS_PORT, targetPort: k8s.IntOrString.fromString('otel-metrics') },
      ],
    },
  })
  return { service: one, pods: each }
}
