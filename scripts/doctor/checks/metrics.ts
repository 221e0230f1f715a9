import { ALERTMANAGER_PORT, type Manifest, PROMETHEUS_PORT, WATCHDOG } from '@fairlead/infra/tools'
import { toRun } from '../../remedy.ts'
import { ARRIVAL_MS, type Check, Fault } from '../check.ts'
import { type Context, until } from '../context.ts'
import { PROBE } from '../probe.ts'

/** Not the pods with which this looks at the network. */
const NO_PROBES = `!${PROBE}`

/** Prometheus repeats an alert that fires once a minute. */
const TOLD_MS = 180_000

interface Target {
  labels: { job: string; namespace: string; pod?: string; endpoint?: string }
  health: 'up' | 'down' | 'unknown'
  lastError: string
}

interface RuleGroup {
  name: string
  /** Of Prometheus' container; the operator names it `<namespace>-<object>-<uid>.yaml`. */
  file: string
  rules: { name: string; health: string; lastError?: string }[]
}

export const askPrometheus = async <T>({ ask, settings }: Context, path: string): Promise<T> =>
  ((await ask({ name: 'prometheus', namespace: settings.MONITORING_NAMESPACE, port: PROMETHEUS_PORT }, path)) as { data: T }).data

/** Whether metrics get to Prometheus, and alerts from it to Alertmanager. */
export const metricsChecks = (context: Context): Check[] => [
  ...context.manifests
    .filter(({ kind }) => kind === 'ServiceMonitor')
    .map((monitor): Check => ({ name: `scrape of ${monitor.metadata.name}`, run: signal => isScraped(context, monitor, signal) })),
  { name: 'rules', run: signal => rulesAreEvaluated(context, signal) },
  { name: 'alert path', run: signal => alertsArrive(context, signal) },
]

/**
 * Looks until it is good, for as long as the newest change of what it depends on may still be on its way. Where something is not as
 * the graph gives it there is nothing to wait for.
 */
async function arrived<T>(
  context: Context,
  look: () => Promise<T>,
  good: (answer: T) => boolean,
  about: (manifest: Manifest) => boolean,
  signal: AbortSignal,
): Promise<T> {
  const answer = await look()
  if (good(answer) || (await context.drift(about)).length > 0) return answer
  const changedAt = await newestChange(context, about)
  return until(look, good, Math.max(0, changedAt + ARRIVAL_MS - Date.now()), signal)
}

/** When somebody last changed one of some objects, or a pod of the services or of the monitoring started, in Unix time (ms). */
async function newestChange({ cluster, manifests, settings }: Context, about: (manifest: Manifest) => boolean): Promise<number> {
  const objects = await Promise.all(manifests.filter(about).map(manifest => cluster.read(manifest)))
  const pods = (
    await Promise.all([settings.NAMESPACE, settings.MONITORING_NAMESPACE].map(namespace => cluster.list('v1', 'Pod', namespace, NO_PROBES)))
  ).flat()
  const edits = objects.flatMap(object =>
    (object?.metadata.managedFields ?? [])
      .filter(({ subresource }: { subresource?: string }) => !subresource)
      .map(({ time }: { time: string }) => time),
  )
  return Math.max(0, ...[...edits, ...pods.flatMap(({ status }) => status.startTime ?? [])].map(time => Date.parse(time)))
}

async function isScraped(context: Context, { metadata, spec }: Manifest, signal: AbortSignal): Promise<string> {
  const { name, namespace = '' } = metadata
  const ports = (spec as { endpoints: { port: string }[] }).endpoints.map(({ port }) => port)
  const look = async () => {
    const { activeTargets } = await askPrometheus<{ activeTargets: Target[] }>(context, '/api/v1/targets?state=active')
    const mine = activeTargets.filter(({ labels }) => labels.job === name && labels.namespace === namespace)
    const pods = await context.pods(name, namespace)
    const wanted = pods.flatMap(pod => ports.map(port => ({ pod: pod.metadata.name as string, port })))
    const found = wanted.map(({ pod, port }) => ({
      pod,
      port,
      target: mine.find(({ labels }) => labels.pod === pod && labels.endpoint === port),
    }))
    return { wanted, wrong: found.filter(({ target }) => target?.health !== 'up') }
  }
  const about = ({ kind, metadata: { name: other, namespace: where } }: Manifest) =>
    (['ServiceMonitor', 'Service'].includes(kind) && where === namespace && (other === name || other === `${name}-pods`)) ||
    (kind === 'NetworkPolicy' && ((where === namespace && other === name) || other === 'prometheus')) ||
    kind === 'Prometheus' ||
    (['Role', 'RoleBinding'].includes(kind) && other === 'prometheus')
  const { wanted, wrong } = await arrived(context, look, found => found.wanted.length > 0 && found.wrong.length === 0, about, signal)
  const [first] = wrong
  if (wanted.length === 0) throw new Fault(`${namespace}/${name} has no ready pod to scrape`, toRun(context.fairlead('status')))
  if (!first) return `${wanted.length} ${wanted.length === 1 ? 'target' : 'targets'} up`
  const symptom = first.target
    ? `Prometheus cannot scrape ${first.pod} (${first.port}): ${first.target.lastError || 'it has not tried yet'}`
    : `Prometheus does not know ${first.pod} (${first.port}) as a target${wrong.length > 1 ? `, nor ${wrong.length - 1} more of ${name}` : ''}`
  throw await context.blame(symptom, about, {
    advice: `does Prometheus select it? MONITORING_LABELS is ${JSON.stringify(context.settings.MONITORING_LABELS)}`,
    commands: [context.kubectl(`-n ${namespace} describe servicemonitor ${name}`)],
  })
}

async function rulesAreEvaluated(context: Context, signal: AbortSignal): Promise<string> {
  const { manifests, settings, blame, kubectl } = context
  const wanted = manifests
    .filter(({ kind }) => kind === 'PrometheusRule')
    .flatMap(({ metadata, spec }) =>
      (spec as { groups: { name: string }[] }).groups.map(({ name }) => ({ name, namespace: metadata.namespace ?? '' })),
    )
  const isOurs = (group: RuleGroup) => wanted.some(({ name, namespace }) => group.name === name && group.file.includes(`/${namespace}-`))
  const look = async () => {
    const { groups } = await askPrometheus<{ groups: RuleGroup[] }>(context, '/api/v1/rules')
    const ours = groups.filter(isOurs)
    const missing = wanted.filter(({ name }) => !ours.some(group => group.name === name)).map(({ name }) => name)
    const rules = ours.flatMap(group => group.rules)
    return { missing, rules, failing: rules.filter(({ health }) => health !== 'ok') }
  }
  const about = ({ kind }: Manifest) => kind === 'PrometheusRule' || kind === 'Prometheus'
  const { missing, rules, failing } = await arrived(context, look, found => found.missing.length === 0 && found.failing.length === 0, about, signal)
  if (missing.length > 0)
    throw await blame(`Prometheus has no rules ${missing.join(', ')}: nothing would alert`, about, {
      advice: `does Prometheus select them? MONITORING_LABELS is ${JSON.stringify(settings.MONITORING_LABELS)}`,
    })
  const [first] = failing
  if (first)
    throw await blame(
      `rule ${first.name} is not evaluated: ${first.lastError || 'not yet'}`,
      about,
      toRun(kubectl(`-n ${settings.MONITORING_NAMESPACE} logs prometheus-prometheus-0`)),
    )
  return `${rules.length} in ${wanted.length} groups, all evaluated`
}

/** The watchdog fires always, so whoever does not have it would not have any other alert. */
async function alertsArrive(context: Context, signal: AbortSignal): Promise<string> {
  const { ask, settings, blame, kubectl } = context
  const alertmanager = { name: 'alertmanager', namespace: settings.MONITORING_NAMESPACE, port: ALERTMANAGER_PORT }
  const filter = encodeURIComponent(`alertname="${WATCHDOG}"`)
  const look = async () => {
    const found = (await ask(alertmanager, `/api/v2/alerts?filter=${filter}`)) as { updatedAt: string }[]
    // Alertmanager remembers for a while what Prometheus tells it no more.
    return found.filter(({ updatedAt }) => Date.now() - Date.parse(updatedAt) < TOLD_MS)
  }
  const about = ({ kind, metadata }: Manifest) =>
    ['Alertmanager', 'Prometheus'].includes(kind) ||
    (['NetworkPolicy', 'Service', 'PrometheusRule'].includes(kind) && ['alertmanager', 'prometheus'].includes(metadata.name))
  const alerts = await arrived(context, look, found => found.length > 0, about, signal)
  if (alerts.length > 0) return `${WATCHDOG} is in Alertmanager`
  throw await blame(
    `${WATCHDOG}, which fires always, has not come to Alertmanager: no other alert would`,
    about,
    toRun(kubectl(`-n ${settings.MONITORING_NAMESPACE} logs prometheus-prometheus-0`)),
  )
}
