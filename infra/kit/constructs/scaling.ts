import type { ServiceDefinition } from '@fairlead/chassis'
import type { Construct } from 'constructs'
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler'
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget'
import { type Context, serviceOwner } from '../objects/context.ts'
import { kubeObject, ownPods } from '../objects/object.ts'

/** How many pods there are: between the graph's bounds by processor time, and one fewer at most while nodes are drained. */
export function addScaling(scope: Construct, context: Context, service: ServiceDefinition): void {
  const owner = serviceOwner(context, service)
  const metadata = { name: service.name, namespace: context.settings.NAMESPACE }
  kubeObject<IHorizontalPodAutoscaler>(scope, owner, {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata,
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: service.name },
      minReplicas: service.scale.min,
      maxReplicas: service.scale.max,
      // Of the service's own container: the collector's share would hide its load.
      metrics: [
        {
          type: 'ContainerResource',
          containerResource: { name: 'cpu', container: service.name, target: { type: 'Utilization', averageUtilization: 70 } },
        },
      ],
      behavior: {
        scaleUp: { stabilizationWindowSeconds: 0, policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }] },
        scaleDown: { stabilizationWindowSeconds: 60, policies: [{ type: 'Percent', value: 50, periodSeconds: 30 }] },
      },
    },
  })
  kubeObject<IPodDisruptionBudget>(scope, owner, {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata,
    spec: { maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: { matchLabels: ownPods(owner) } },
  })
}
