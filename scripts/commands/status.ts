import type { SystemDefinition } from '@fairlead/chassis'
import { type Settings, someSettings } from '@fairlead/infra/tools'
import { loadApp } from '../app.ts'
import { type Cluster, openCluster, type Reference } from '../cluster/cluster.ts'
import { readInventory } from '../cluster/inventory.ts'
import { openPrometheus } from '../cluster/prometheus.ts'
import { type Red, readOtherAlerts, readRed } from '../cluster/red.ts'
import { ApiError } from '../cluster/rest.ts'
import { stateOf, type WorkloadState, workloadsOf } from '../cluster/rollout.ts'
import { defineCommand } from '../command.ts'
import { fairlead, toRun } from '../remedy.ts'
import { CommandError, dim, green, red, say, yellow } from '../terminal.ts'
import { CONTEXT, JSON_OUTPUT } from './options.ts'

interface Row extends WorkloadState {
  image: string
  restarts: number
  /** Of the oldest pod, in seconds. */
  ageSeconds: number
}

/** A workload with what its pods tell. */
async function rowOf(cluster: Cluster, reference: Reference): Promise<Row> {
  const [state, live] = await Promise.all([stateOf(cluster, reference), cluster.read(reference)])
  const selector = Object.entries(live?.spec?.selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  const pods = selector.length > 0 ? await cluster.list('v1', 'Pod', state.namespace, selector.join(',')) : []
  const restarts = pods.flatMap(pod => pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0)
  const oldest = Math.min(...pods.map(pod => Date.parse(pod.status?.startTime ?? '') || Date.now()), Date.now())
  const image: string = live?.spec?.template?.spec?.containers?.[0]?.image ?? ''
  return { ...state, image, restarts, ageSeconds: Math.round((Date.now() - oldest) / 1_000) }
}

const age = (seconds: number): string =>
  seconds < 120
    ? `${seconds}s`
    : seconds < 7_200
      ? `${Math.round(seconds / 60)}m`
      : seconds < 172_800
        ? `${Math.round(seconds / 3_600)}h`
        : `${Math.round(seconds / 86_400)}d`

/** Lines of cells under a dim head, each column as wide as its widest cell. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map(line => (line[column] ?? '').length)))
  const lineOf = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return [dim(lineOf(head)), ...rows.map(row => lineOf(row).replace('✓', green('✓')).replace('✗', red('✗')))].join('\n')
}

const workloads = (rows: readonly Row[]): string =>
  table(
    ['', 'namespace', 'workload', 'ready', 'restarts', 'age', 'image'],
    rows.map(({ done, namespace, name, ready, desired, restarts, ageSeconds, image }) => [
      done ? '✓' : '✗',
      namespace,
      name,
      `${ready}/${desired}`,
      String(restarts),
      age(ageSeconds),
      image,
    ]),
  )

const percent = (share: number | undefined): string =>
  share === undefined ? '-' : `${(share * 100).toFixed(share !== 0 && Math.abs(share) < 0.1 ? 2 : 0)} %`
const milliseconds = (seconds: number | undefined): string => (seconds === undefined ? '-' : `${Math.round(seconds * 1_000)} ms`)

const figures = (rows: readonly Red[], absent: readonly string[]): string =>
  table(
    ['', 'service', 'requests/s', 'failed', 'p50', 'p99', 'budget left: failures', 'slowness', 'alerts'],
    rows.map(({ service, requestsPerSecond, failed, p50, p99, budgetLeft, alerts }) => [
      alerts.length > 0 || absent.includes(service) ? '✗' : '✓',
      service,
      requestsPerSecond?.toFixed(1) ?? '-',
      percent(failed),
      milliseconds(p50),
      milliseconds(p99),
      percent(budgetLeft.failures),
      percent(budgetLeft.slowness),
      absent.includes(service) ? 'not deployed' : alerts.join(', ') || 'none',
    ]),
  )

/** Figures of the services, or why there are none: what runs is worth knowing without them. */
async function readFigures(
  cluster: Cluster,
  system: SystemDefinition,
  settings: Pick<Settings, 'NAMESPACE' | 'MONITORING_NAMESPACE'>,
): Promise<{ services: Red[]; alerts: string[]; missing?: string }> {
  try {
    const prometheus = await openPrometheus(cluster, settings.MONITORING_NAMESPACE)
    try {
      const [services, alerts] = await Promise.all([
        readRed(prometheus, system, settings.NAMESPACE),
        readOtherAlerts(prometheus, system, settings.NAMESPACE),
      ])
      return { services, alerts }
    } finally {
      await prometheus.close()
    }
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof ApiError)) throw error
    return { services: [], alerts: [], missing: error.message }
  }
}

export const status = defineCommand({
  name: 'status',
  summary: 'Show what runs, and what its clients see of it',
  description: `Shows what runs, and what its clients see of it: requests, failures and durations of the last five minutes and what is left of
each error budget of 30 days, by Prometheus. Ends with 1 when something is not ready or not deployed.`,
  examples: ['npx fairlead status', 'npx fairlead status --context NAME --json'],
  options: command => command.addOption(CONTEXT).addOption(JSON_OUTPUT),
  run: async ({ context, json }) => {
    const { system } = await loadApp()
    const settings = someSettings(process.env, system, 'NAMESPACE', 'MONITORING_NAMESPACE')
    const { NAMESPACE } = settings
    const cluster = openCluster(context)
    const known = await readInventory(cluster, NAMESPACE)
    if (known.length === 0)
      throw new CommandError(
        `nothing was deployed to '${context}' (namespace ${NAMESPACE})`,
        toRun(context === 'kind-fairlead' ? 'npx fairlead up' : fairlead(context, 'deploy')),
      )
    const [rows, { services, alerts, missing }] = await Promise.all([
      Promise.all(workloadsOf(known).map(reference => rowOf(cluster, reference))),
      readFigures(cluster, system, settings),
    ])
    const absent = system.services
      .map(({ name }) => name)
      .filter(name => !rows.some(row => row.kind === 'Deployment' && row.namespace === NAMESPACE && row.name === name))
    const ready = rows.every(({ done }) => done) && absent.length === 0
    const hosts = [
      ...new Set(
        (await cluster.list('networking.k8s.io/v1', 'Ingress', NAMESPACE)).flatMap(({ spec }) =>
          spec.rules.map(({ host }: { host: string }) => host),
        ),
      ),
    ]
    if (json) process.stdout.write(`${JSON.stringify({ context, ready, hosts, workloads: rows, absent, services, alerts }, null, 2)}\n`)
    else {
      process.stdout.write(`${workloads(rows)}\n`)
      for (const { name, reason } of rows) if (reason) process.stdout.write(`${red('✗')} ${name}: ${reason}\n`)
      process.stdout.write(missing ? `\n${yellow('!')} no figures: ${missing}\n` : `\n${figures(services, absent)}\n`)
      for (const alert of alerts) process.stdout.write(`${red('✗')} ${alert} fires\n`)
      say(dim(`ingress: ${hosts.join(', ') || 'none'}`))
    }
    return ready ? 0 : 1
  },
})
