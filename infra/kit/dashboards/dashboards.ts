import { DefinitionError } from '@fairlead/chassis'
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { ConfigMap } from 'cdk8s-plus-27'
import type { Construct } from 'constructs'
import { type Context, systemOwner } from '../objects/context.ts'
import { make } from '../objects/object.ts'
import type { DashboardContext } from './grafana.ts'
import { overviewDashboard } from './overview.ts'
import { platformDashboard } from './platform.ts'
import { runbooksDashboard } from './runbooks.ts'
import { serviceDashboard } from './service.ts'

/**
 * Every dashboard of a system, by the last part of its address.
 * @throws Error when a service has the name of a dashboard that every system has
 */
export function dashboardsOf(context: DashboardContext): Map<string, Dashboard> {
  const dashboards = new Map<string, Dashboard>([
    ['overview', overviewDashboard(context)],
    ['runbooks', runbooksDashboard(context)],
  ])
  for (const service of context.system.services) {
    if (dashboards.has(service.name) || service.name === 'platform')
      throw new DefinitionError(`a service cannot be called ${service.name}: a dashboard of every system is`)
    dashboards.set(service.name, serviceDashboard(context, service))
  }
  return dashboards
}

/** All that the bundled Grafana shows: those of the system, and the platform's own. */
export const bundledDashboards = (context: DashboardContext): Map<string, Dashboard> =>
  new Map([...dashboardsOf(context), ['platform', platformDashboard(context)]])

export const toJson = (dashboard: Dashboard): string => `${JSON.stringify(dashboard, null, 1)}\n`

/** Component, as a label, of the ConfigMaps that hold dashboards. */
export const DASHBOARD = 'dashboard'

/** The dashboards as ConfigMaps, which Grafana's sidecar (kube-prometheus-stack has it) finds in any namespace by their label. */
export function addDashboards(scope: Construct, context: Context): void {
  const { settings, system } = context
  const owner = { ...systemOwner(context), component: DASHBOARD }
  for (const [name, dashboard] of dashboardsOf(context))
    make(ConfigMap, scope, owner, {
      metadata: { name: `${name}-dashboard`, namespace: settings.NAMESPACE, labels: settings.DASHBOARD_LABELS },
      data: { [`${system.name}-${name}.json`]: toJson(dashboard) },
    })
}
