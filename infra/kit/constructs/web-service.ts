import { DefinitionError } from '@fairlead/chassis'
import type { ApiObject } from 'cdk8s'
import type { HorizontalPodAutoscaler, k8s, ServiceAccount } from 'cdk8s-plus-27'
import { Construct } from 'constructs'
import { Alerts } from '../alerts/alerts.ts'
import { serviceOwner } from '../objects/context.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { addDeployment, type DeploymentProps } from './deployment.ts'
import { addEdges } from './edges.ts'
import { addRoute } from './ingress.ts'
import { addScaling } from './scaling.ts'
import { addServiceMonitor } from './service-monitor.ts'
import { addServices } from './services.ts'

export type WebServiceProps = DeploymentProps

/** Everything that one service of the graph becomes. */
export class WebService extends Construct {
  readonly serviceAccount: ServiceAccount
  readonly deployment: k8s.KubeDeployment
  /** One address, for the ingress. */
  readonly service: k8s.KubeService
  /** The addresses of all ready pods, for callers and Prometheus. */
  readonly pods: k8s.KubeService
  readonly autoscaler: HorizontalPodAutoscaler
  readonly disruptionBudget: k8s.KubePodDisruptionBudget
  readonly networkPolicy: k8s.KubeNetworkPolicy
  readonly monitor: ApiObject
  readonly alerts: Alerts
  /** The Ingress or HTTPRoute, if the contract has a public path. */
  readonly route?: ApiObject

  /** @throws DefinitionError when the service is not one of the system */
  constructor(scope: Construct, id: string, props: WebServiceProps) {
    super(scope, id)
    const { system, service, settings } = props
    if (!system.services.includes(service))
      throw new DefinitionError(
        `the service ${service.name} is not in the system ${system.name}: ${system.services.map(({ name }) => name).join(', ')}`,
      )
    this.serviceAccount = addServiceAccount(this, serviceOwner(props), settings.NAMESPACE)
    this.deployment = addDeployment(this, props)
    const { service: one, pods } = addServices(this, props)
    this.service = one
    this.pods = pods
    const { autoscaler, disruptionBudget } = addScaling(this, props)
    this.autoscaler = autoscaler
    this.disruptionBudget = disruptionBudget
    this.networkPolicy = addEdges(this, props)
    this.monitor = addServiceMonitor(this, props)
    this.alerts = new Alerts(this, 'alerts', props)
    this.route = addRoute(this, props)
  }
}
