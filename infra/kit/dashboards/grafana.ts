import {
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  VizLegendOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common'
import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  MappingType,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as NumberBuilder } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as GraphBuilder } from '@grafana/grafana-foundation-sdk/timeseries'
import type { Context } from '../objects/context.ts'
import { runbookPanel, uidOf } from './runbooks.ts'

/** What dashboards are made from. */
export type DashboardContext = Pick<Context, 'system' | 'root' | 'settings'>

export interface Query {
  expr: string
  /** Names a line, e.g. `{{pod}}`. */
  legend: string
  /** Whether exemplars are drawn on it, each of which leads to its trace. */
  exemplars?: boolean
}

/** One panel: lines over time, or the last value as a number. */
export interface Panel {
  title: string
  description: string
  /** Grafana's name of the unit, e.g. `reqps`, `s`, `percentunit`, `bytes`, `short`. */
  unit: string
  queries: Query[]
  /** @default 'lines' */
  as?: 'lines' | 'number'
  /** Beyond it something is wrong: a dashed line, or the colour of a number. */
  limit?: number
  /** Which side of the limit is good. @default 'below' */
  good?: 'below' | 'above'
  /** What values are called, e.g. `{ 2: 'open' }`. */
  names?: Record<string, string>
  /** File of docs/runbooks, without its ending. */
  runbook?: string
  /** Service whose traces it leads to. */
  traces?: string
}

export interface Row {
  title: string
  panels: Panel[]
}

export interface DashboardOptions {
  /** Last part of its address. */
  name: string
  title: string
  description: string
  /** Services to choose from, and whether several can be shown at once (`job=~"$service"`). */
  services: { among: readonly string[]; many: boolean }
  rows: Row[]
}

const METRICS = { type: 'prometheus', uid: '$' + '{datasource}' }
const TRACES = '$' + '{traces}'

/** Explore takes its panes as JSON in the address; Grafana fills in its variables only where they are not encoded. */
function tracesLink(service: string): DashboardLinkBuilder {
  const query = { refId: 'A', queryType: 'search', service, datasource: { type: 'jaeger', uid: TRACES } }
  const panes = { traces: { datasource: TRACES, queries: [query], range: { from: '$' + '{__from}', to: '$' + '{__to}' } } }
  const encoded = encodeURIComponent(JSON.stringify(panes)).replace(/%24%7B(\w+)%7D/g, '$${$1}')
  return new DashboardLinkBuilder(`Traces of ${service}`).url(`/explore?schemaVersion=1&panes=${encoded}`).targetBlank(true)
}

const runbookLink = ({ system, root }: DashboardContext, runbook: string): DashboardLinkBuilder =>
  new DashboardLinkBuilder(`Runbook ${runbook}`)
    .url(`/d/${uidOf(system.name, 'runbooks')}?viewPanel=panel-${runbookPanel(root, runbook)}`)
    .targetBlank(true)

const linksOf = (context: DashboardContext, { traces, runbook }: Panel): DashboardLinkBuilder[] => [
  ...(traces ? [tracesLink(traces)] : []),
  ...(runbook ? [runbookLink(context, runbook)] : []),
]

function thresholdsOf({ limit, good = 'below' }: Panel): ThresholdsConfigBuilder {
  const [under, over] = good === 'below' ? ['green', 'red'] : ['red', 'green']
  const steps =
    limit === undefined
      ? [{ value: null, color: 'green' }]
      : [
          { value: null, color: under },
          { value: limit, color: over },
        ]
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps)
}

function queriesOf({ queries, as }: Panel): DataqueryBuilder[] {
  return queries.map(({ expr, legend, exemplars = false }, index) => {
    const query = new DataqueryBuilder()
      .expr(expr)
      .legendFormat(legend)
      .datasource(METRICS)
      .refId(String.fromCharCode(65 + index))
    return as === 'number' ? query.instant() : query.range().exemplar(exemplars)
  })
}

const namesOf = ({ names = {} }: Panel) => {
  const options = Object.fromEntries(Object.entries(names).map(([value, text]) => [value, { text }]))
  return [{ type: MappingType.ValueToText as const, options }]
}

function linesPanel(panel: Panel): GraphBuilder {
  const builder = new GraphBuilder().fillOpacity(8)
  const legend = new VizLegendOptionsBuilder().showLegend(true).displayMode(LegendDisplayMode.List).placement(LegendPlacement.Bottom)
  builder.legend(legend)
  if (panel.good !== 'above') builder.axisSoftMin(0)
  if (panel.limit !== undefined) builder.thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed))
  return builder
}

function toBuilder(context: DashboardContext, panel: Panel): GraphBuilder | NumberBuilder {
  const builder = panel.as === 'number' ? new NumberBuilder() : linesPanel(panel)
  const { title, description, unit, names } = panel
  builder.title(title).description(description).unit(unit).datasource(METRICS).thresholds(thresholdsOf(panel)).links(linksOf(context, panel))
  if (names) builder.mappings(namesOf(panel))
  for (const query of queriesOf(panel)) builder.withTarget(query)
  return builder
}

/** Choices at the top: where metrics and traces are, and what of the system is shown. */
function variablesOf(namespace: string, { services }: DashboardOptions) {
  const query = (name: string, label: string, expr: string) =>
    new QueryVariableBuilder(name).label(label).datasource(METRICS).query(expr).refresh(VariableRefresh.OnTimeRangeChanged)
  return [
    new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'),
    new DatasourceVariableBuilder('traces').label('Traces').type('jaeger'),
    query('namespace', 'Namespace', 'label_values(http_server_active_requests, namespace)').current({ text: namespace, value: namespace }),
    query('service', 'Service', 'label_values(http_server_active_requests{namespace="$namespace"}, job)')
      .regex(`/^(${services.among.join('|')})$/`)
      .multi(services.many)
      .includeAll(services.many)
      .current(services.many ? { text: 'All', value: '$__all' } : { text: services.among[0] ?? '', value: services.among[0] ?? '' }),
  ]
}

/** A dashboard as Grafana stores it. Its panels may use `$datasource`, `$traces`, `$namespace` and `$service`. */
export function grafanaDashboard(context: DashboardContext, options: DashboardOptions): Dashboard {
  const system = context.system.name
  const { name, title, description, rows } = options
  const others = new DashboardLinkBuilder(system).type(DashboardLinkType.Dashboards).tags([system]).keepTime(true).includeVars(true)
  const builder = new DashboardBuilder(title)
    .uid(uidOf(system, name))
    .description(description)
    .tags([system])
    .readonly()
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .tooltip(DashboardCursorSync.Crosshair)
    .variables(variablesOf(context.settings.NAMESPACE, options))
    .link(others)
  let id = 0
  let y = 0
  for (const row of rows) {
    builder.withRow(new RowBuilder(row.title).id(++id).gridPos({ x: 0, y, w: WIDTH, h: 1 }))
    y += 1
    for (const line of linesOf(row.panels)) {
      let x = 0
      for (const panel of line) {
        const { w, h } = sizeOf(panel)
        builder.withPanel(toBuilder(context, panel).id(++id).gridPos({ x, y, w, h }))
        x += w
      }
      y += Math.max(...line.map(panel => sizeOf(panel).h))
    }
  }
  return builder.build()
}

/** Of Grafana's grid, in columns. */
const WIDTH = 24
const sizeOf = ({ as }: Panel) => (as === 'number' ? { w: 4, h: 4 } : { w: 8, h: 8 })

/** Panels side by side for as long as they fit, numbers apart from lines. */
function linesOf(panels: readonly Panel[]): Panel[][] {
  const lines: Panel[][] = []
  for (const panel of panels) {
    const line = lines.at(-1)
    const used = line?.reduce((sum, placed) => sum + sizeOf(placed).w, 0) ?? 0
    if (line && line[0]?.as === panel.as && used + sizeOf(panel).w <= WIDTH) line.push(panel)
    else lines.push([panel])
  }
  return lines
}
