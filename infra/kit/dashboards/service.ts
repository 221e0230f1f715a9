import { hasOutbox, type MetricPanel, type ServiceDefinition } from '@fairlead/chassis'
import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard'
import { edgePanels } from './edge-panels.ts'
import { type DashboardContext, grafanaDashboard, type Panel, type Row } from './grafana.ts'
import { OF, rate } from './queries.ts'
import { requestPanels, routePanels } from './request-panels.ts'
import { outboxPanels, saturationPanels, telemetryPanels } from './saturation-panels.ts'

const ownPanel = ({ metric, kind, by, title, description, unit }: MetricPanel): Panel => {
  const legend = by ? `{{${by}}}` : title
  const grouped = by ? ` by (${by})` : ''
  return {
    title,
    description,
    unit,
    queries: [{ expr: kind === 'counter' ? `sum${grouped} (${rate(metric)})` : `max${grouped} (${metric}{${OF}})`, legend }],
  }
}

/** Everything that one service tells, from its definition: requests, routes, one row a dependency, what runs out, its own metrics. */
export function serviceDashboard(context: DashboardContext, service: ServiceDefinition): Dashboard {
  const rows: Row[] = [
    { title: 'Requests', panels: requestPanels(service) },
    { title: 'Routes', panels: routePanels(service) },
    ...service.calls.map(edge => ({ title: `Calls to ${edge.to.name}`, panels: edgePanels(edge) })),
    ...(service.panels ? [{ title: `Of ${service.name} alone`, panels: service.panels.map(ownPanel) }] : []),
    ...(hasOutbox(service) ? [{ title: 'Outbox', panels: outboxPanels() }] : []),
    { title: 'Saturation', panels: saturationPanels(service) },
    { title: 'Telemetry', panels: telemetryPanels() },
  ]
  return grafanaDashboard(context, {
    name: service.name,
    title: `${context.system.name}: ${service.name}`,
    description: `What ${service.name} tells, made from its definition (services/${service.name}/service.ts).`,
    services: { among: [service.name], many: false },
    rows,
  })
}
