import { DefinitionError } from '@fairlead/chassis'
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { ConfigMap } from 'cdk8s-plus-27'
import { Construct } from 'constructs'
import { type SystemProps, systemOwner } from '../objects/context.ts'
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

export interface DashboardsProps extends SystemProps {
  /** Folder of the repository, for the runbooks that it adds. */
  readonly root: string
}

/** The dashboards as ConfigMaps, which Grafana's sidecar (kube-prometheus-stack has it) finds in any namespace by their label. */
export class Dashboards extends Construct {
  /** By the last part of a dashboard's address. */
  readonly configMaps: ReadonlyMap<string, ConfigMap>

  constructor(scope: Construct, id: string, props: DashboardsProps) {
    super(scope, id)
    const { settings, system } = props
    const owner = { ...systemOwner(props), component: DASHBOARD }
    this.configMaps = new Map(
      [...dashboardsOf(props)].map(([name, dashboard]) => [
        name,
        make(ConfigMap, this, owner, {
          metadata: { name: `${name}-dashboard`, namespace: settings.NAMESPACE, labels: settings.DASHBOARD_LABELS },
          data: { [`${system.name}-${name}.json`]: toJson(dashboard) },
        }),
      ]),
    )
  }
}
