import { Duration } from 'cdk8s'
import { Container, HorizontalPodAutoscaler, type IScalable, k8s, Metric, MetricTarget, Replicas } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { type ServiceProps, serviceOwner } from '../objects/context.ts'
import { make, ownPods } from '../objects/object.ts'

const SCALE_AT_PERCENT = 70

/** How many pods there are: between the graph's bounds by processor time, and one fewer at most while nodes are drained. */
export function addScaling(scope: Construct, props: ServiceProps) {
  const { service, settings } = props
  const owner = serviceOwner(props)
  const metadata = { name: service.name, namespace: settings.NAMESPACE }
  const container = new Container({ name: service.name, image: service.name })
  const autoscaler = make(HorizontalPodAutoscaler, scope, owner, {
    metadata,
    target: deploymentOf(service.name, container),
    minReplicas: service.scale.min,
    maxReplicas: service.scale.max,
    // Of the service's own container: the collector's share would hide its load.
    metrics: [Metric.containerCpu({ container, target: MetricTarget.averageUtilization(SCALE_AT_PERCENT) })],
    scaleUp: { stabilizationWindow: Duration.seconds(0), policies: [{ replicas: Replicas.percent(100), duration: Duration.seconds(15) }] },
    scaleDown: { stabilizationWindow: Duration.seconds(60), policies: [{ replicas: Replicas.percent(50), duration: Duration.seconds(30) }] },
  })
  const disruptionBudget = make(k8s.KubePodDisruptionBudget, scope, owner, {
    metadata,
    spec: { maxUnavailable: k8s.IntOrString.fromNumber(1), unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: { matchLabels: ownPods(owner) } },
  })
  return { autoscaler, disruptionBudget }
}

/** What the autoscaler asks of a Deployment that is no construct of cdk8s-plus. */
const deploymentOf = (name: string, container: Container): IScalable => ({
  hasAutoscaler: true,
  markHasAutoscaler: () => {},
  toScalingTarget: () => ({ ...k8s.KubeDeployment.GVK, name, containers: [container] }),
})
