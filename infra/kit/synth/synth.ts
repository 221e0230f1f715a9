import { ApiObject, App, Chart } from 'cdk8s'
import { refuseImpossible } from '../checks/refuse.ts'
import { Postgres } from '../constructs/postgres.ts'
import { WebService } from '../constructs/web-service.ts'
import { Dashboards } from '../dashboards/dashboards.ts'
import { type Context, systemOwner } from '../objects/context.ts'
import type { Manifest, Overlay } from '../objects/manifest.ts'
import { addNamespace } from '../objects/namespace.ts'
import { addPlatform } from '../platform/platform.ts'

/**
 * The charts of a system: its own, and `platform` unless the cluster brings that.
 * @throws Refused with every impossibility at once
 */
export function buildCharts(app: App, context: Context): Chart[] {
  const { system, settings, images } = context
  const own = new Chart(app, system.name)
  addNamespace(own, { ...systemOwner(context), name: settings.NAMESPACE }, 'restricted')
  if (settings.DATABASE === 'bundled' && system.services.some(({ database }) => database !== undefined)) new Postgres(own, 'Postgres', context)
  for (const service of system.services) new WebService(own, service.name, { ...context, service, image: images[service.name] ?? '' })
  new Dashboards(own, 'Dashboards', context)
  const charts = [own]
  if (settings.PLATFORM === 'bundled') {
    const platform = new Chart(app, 'platform')
    addPlatform(platform, context)
    // It is given rights in the system's namespace, which has to be there: this orders the files for kubectl apply -f dist/.
    platform.addDependency(own)
    charts.push(platform)
  }
  if (context.overlay) lay(context.overlay, charts)
  refuseImpossible({ ...context, objects: charts.flatMap(chart => chart.toJson() as Manifest[]) })
  return charts
}

/** Wherever an object is written from now on, it is as the overlay leaves it. */
function lay(overlay: Overlay, charts: readonly Chart[]): void {
  for (const node of charts.flatMap(chart => chart.node.findAll())) {
    if (!ApiObject.isApiObject(node)) continue
    const made = node.toJson.bind(node)
    node.toJson = () => overlay(made())
  }
}

/** The same as plain objects, by chart. */
export function synthesize(context: Context): { platform: Manifest[]; own: Manifest[] } {
  const [own = [], platform = []] = buildCharts(new App(), context).map(chart => chart.toJson() as Manifest[])
  return { platform, own }
}
