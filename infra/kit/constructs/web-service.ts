import type { ServiceDefinition } from '@fairlead/chassis'
import { Construct } from 'constructs'
import { addAlerts } from '../alerts/alerts.ts'
import { type Context, serviceOwner } from '../objects/context.ts'
import { addServiceAccount } from '../objects/service-account.ts'
import { addDeployment } from './deployment.ts'
import { addEdges } from './edges.ts'
import { addRoute } from './ingress.ts'
import { addScaling } from './scaling.ts'
import { addServiceMonitor } from './service-monitor.ts'
import { addServices } from './services.ts'

/** Everything that one service of the graph becomes. */
export function addWebService(scope: Construct, context: Context, service: ServiceDefinition): void {
  const own = new Construct(scope, service.name)
  addServiceAccount(own, serviceOwner(context, service), context.settings.NAMESPACE)
  addDeployment(own, context, service)
  addServices(own, context, service)
  addScaling(own, context, service)
  addEdges(own, context, service)
  addServiceMonitor(own, context, service)
  addAlerts(own, context, service)
  addRoute(own, context, service)
}
