import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundledDashboards } from '../../infra/kit/dashboards/dashboards.ts'
import { app } from '../../infra/main.ts'
import { system } from '../../infra/system.ts'
import type { Forwarded } from '../../scripts/cluster/forward.ts'
import type { Load } from '../../scripts/journey/load.ts'
import { newClients } from './support/clients.ts'
import { offer } from './support/load.ts'
import { forwardTo, getJson } from './support/monitoring.ts'
import { eventually, NAMESPACE, report, settings } from './support/target.ts'

interface Panel {
  title: string
  targets?: { expr: string; refId: string }[]
}

const dashboards = bundledDashboards({ ...app, settings }) as unknown as Map<string, { panels: Panel[] }>
const queries = [...dashboards].flatMap(([dashboard, { panels }]) =>
  panels.flatMap(({ title, targets = [] }) => targets.map(({ expr, refId }) => ({ dashboard, title: `${title} ${refId}`, expr }))),
)

/** What Grafana puts in for its variables with a resolution of a minute. */
const fill = (expr: string, dashboard: string) =>
  expr
    .replaceAll('$__rate_interval', '1m')
    .replaceAll('$namespace', NAMESPACE)
    .replaceAll('$service', ['overview', 'platform'].includes(dashboard) ? `(${system.services.map(({ name }) => name).join('|')})` : dashboard)

/** Series that begin with the first failure of their kind. */
const OCCASIONAL = ['otelcol_exporter_send_failed_spans_total', 'otelcol_exporter_enqueue_failed_spans_total', 'outbox_attempts_total']

let prometheus: Forwarded
let load: Load

beforeAll(async () => {
  prometheus = await forwardTo('prometheus', settings.MONITORING_NAMESPACE, 9_090)
  load = offer(12, await newClients(10))
  await eventually(
    () => Promise.all(queries.map(async ({ dashboard, expr }) => (await valuesOf(fill(expr, dashboard))).length)),
    counts => expect(Math.min(...counts)).toBeGreaterThan(0),
    90_000,
  ).catch(() => {})
}, 150_000)
afterAll(async () => {
  await load?.stop()
  await prometheus?.close()
})

/** Numbers that a query gives for the last seconds; NaN is none. */
async function valuesOf(expr: string): Promise<number[]> {
  const { data } = await getJson(`${prometheus.url}/api/v1/query?${new URLSearchParams({ query: expr })}`)
  return data.result.map(({ value }: { value: [number, string] }) => Number(value[1])).filter((value: number) => !Number.isNaN(value))
}

describe('after traffic', () => {
  test.each(queries)('$dashboard: $title has data', async ({ dashboard, expr }) => {
    expect((await valuesOf(fill(expr, dashboard))).length, fill(expr, dashboard)).toBeGreaterThan(0)
    // A fallback would hide that a metric has another name; what nothing has happened of is known to Prometheus all the same.
    for (const [, metric] of expr.matchAll(/([a-z][\w:]*)\{/g)) {
      if (metric === 'ALERTS' || OCCASIONAL.includes(metric ?? '')) continue
      expect(await valuesOf(`count(${metric})`), metric).not.toEqual([])
    }
  })

  test('that is every query of every panel', () => {
    report(`${queries.length} queries of ${dashboards.size - 1} dashboards have data`)
    expect(queries.length).toBeGreaterThan(60)
  })
})

test('the choices at the top are there', async () => {
  const namespaces = await getJson(`${prometheus.url}/api/v1/label/namespace/values?match[]=http_server_active_requests`)
  expect(namespaces.data).toContain(NAMESPACE)
  const match = new URLSearchParams({ 'match[]': `http_server_active_requests{namespace="${NAMESPACE}"}` })
  expect((await getJson(`${prometheus.url}/api/v1/label/job/values?${match}`)).data).toEqual(system.services.map(({ name }) => name).sort())
})
