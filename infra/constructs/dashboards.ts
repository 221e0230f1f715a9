import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import type { Construct } from 'constructs'
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap'
import type { SystemDefinition } from '../../services/chassis/graph.ts'
import { overviewDashboard } from '../dashboards/overview.ts'
import { runbooksDashboard } from '../dashboards/runbooks.ts'
import { serviceDashboard } from '../dashboards/service.ts'
import type { Settings } from '../settings.ts'
import { type Context, systemOwner } from './context.ts'
import { kubeObject } from './object.ts'

/** Every dashboard of a system, by the last part of its address. */
export function dashboardsOf({ system, settings }: { system: SystemDefinition; settings: Settings }): Map<string, Dashboard> {
  const { NAMESPACE, PLATFORM } = settings
  return new Map([
    ['overview', overviewDashboard(system, NAMESPACE, { withPlatform: PLATFORM === 'bundled' })],
    ...system.services.map((service): [string, Dashboard] => [service.name, serviceDashboard(system.name, service, NAMESPACE)]),
    ['runbooks', runbooksDashboard(system.name)],
  ])
}

export const toJson = (dashboard: Dashboard): string => `${JSON.stringify(dashboard, null, 1)}\n`

/** The dashboards as ConfigMaps, which Grafana's sidecar (kube-prometheus-stack has it) finds in any namespace by their label. */
export function addDashboards(scope: Construct, context: Context): void {
  const { settings, system } = context
  for (const [name, dashboard] of dashboardsOf(context))
    kubeObject<IConfigMap>(scope, systemOwner(context), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: `${name}-dashboard`, namespace: settings.NAMESPACE, labels: settings.DASHBOARD_LABELS },
      data: { [`${system.name}-${name}.json`]: toJson(dashboard) },
    })
}
