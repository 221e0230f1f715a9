import { pause } from '../pause.ts'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError, liveLine, printable, say, yellow } from '../terminal.ts'
import type { Cluster, Live, Reference } from './cluster.ts'

const POLL_MS = 1_000

/** How one workload stands. */
export interface WorkloadState {
  kind: string
  namespace: string
  name: string
  ready: number
  desired: number
  /** Whether every pod is of the newest template and ready, and none is left of an older one. */
  done: boolean
  /** Why not, as far as its pods tell: `pod order-x: ImagePullBackOff fairlead/order:...`. */
  reason?: string
  /** Whether that is only that a pod starts. */
  starts?: true
}

/** How a Deployment, StatefulSet or DaemonSet stands by its own status (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status). */
export function progressOf({ kind, metadata, spec = {}, status = {} }: Live): Omit<WorkloadState, 'reason' | 'starts'> {
  const desired: number = kind === 'DaemonSet' ? (status.desiredNumberScheduled ?? 0) : (spec.replicas ?? 1)
  const updated: number = (kind === 'DaemonSet' ? status.updatedNumberScheduled : status.updatedReplicas) ?? 0
  const total: number = kind === 'DaemonSet' ? desired : (status.replicas ?? 0)
  const ready: number = Math.min(status.readyReplicas ?? status.numberReady ?? 0, desired)
  const observed = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0)
  const done = observed && updated >= desired && total === desired && ready === desired
  return { kind, namespace: metadata.namespace ?? '', name: metadata.name, ready, desired, done }
}

interface ContainerStatus {
  name: string
  image: string
  ready: boolean
  restartCount: number
  started?: boolean
  state?: { waiting?: { reason?: string; message?: string }; terminated?: Terminated; running?: { startedAt: string } }
  lastState?: { terminated?: Terminated }
}
interface Probe {
  initialDelaySeconds?: number
  periodSeconds?: number
  failureThreshold?: number
}
interface Terminated {
  exitCode: number
  reason?: string
  /** Whether that is only that a pod starts. */
  starts?: true
}

export interface PodReason {
  text: string
  container?: string
  crashed?: boolean
  /** Why no node takes it, in the scheduler's first sentence. */
  unscheduled?: string
}

/** What keeps a pod from being ready, from its own status; undefined while it only starts. */
export function reasonOfPod(pod: Live): PodReason | undefined {
  const { conditions = [], containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {}
  const unscheduled = conditions.find(
    (condition: { type: string; status: string }) => condition.type === 'PodScheduled' && condition.status === 'False',
  )
  if (unscheduled)
    return {
      text: `${unscheduled.reason}: ${unscheduled.message}`,
      unscheduled: unscheduled.message?.split('. ')[0].replace(/\.$/, '') ?? unscheduled.reason,
    }
  const statuses = [...initContainerStatuses, ...containerStatuses] as ContainerStatus[]
  // One that is ready now may have ended badly before; that is not what is waited for.
  for (const { name, image, state = {}, lastState = {}, restartCount } of statuses.filter(({ ready }) => !ready)) {
    const ended = state.terminated ?? lastState.terminated
    const { reason, message } = state.waiting ?? {}
    if (reason?.includes('ImagePull') || reason === 'ErrImageNeverPull' || reason === 'InvalidImageName')
      return { text: `${reason} ${image}`, container: name }
    if (reason === 'CrashLoopBackOff' || (ended && ended.exitCode !== 0))
      return {
        text: `${name} ${ended?.reason === 'OOMKilled' ? 'was killed for using too much memory' : `ended with ${ended?.exitCode ?? '?'}`}, ${restartCount} restarts`,
        container: name,
        crashed: true,
      }
    if (reason && !['PodInitializing', 'ContainerCreating'].includes(reason))
      return { text: `${reason}${message ? `: ${message}` : ''}`, container: name }
  }
  return undefined
}

export const isReady = (pod: Live): boolean =>
  (pod.status?.conditions ?? []).some(({ type, status }: { type: string; status: string }) => type === 'Ready' && status === 'True')

/** The pods of a workload, also those that leave. */
export async function podsOf(cluster: Cluster, { metadata, spec }: Live): Promise<Live[]> {
  const selector = Object.entries(spec?.selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  // Not those with which npx fairlead doctor looks at the network from inside: they have the label, and are never ready.
  return cluster.list('v1', 'Pod', metadata.namespace, [...selector, '!fairlead.dev/probe'].join(','))
}

/** The event of every startup probe that was too early. */
const STARTUP_FAILED = 'Unhealthy: Startup probe failed'

/** Whether a container has not started yet, and its startup probe still gives it time. */
function mayStillStart({ spec, status }: Live): boolean {
  const statuses = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])] as ContainerStatus[]
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])] as { name: string; startupProbe?: Probe }[]
  return containers.some(({ name, startupProbe }) => {
    const { started = false, state } = statuses.find(one => one.name === name) ?? {}
    if (!startupProbe || started || !state?.running) return false
    // The defaults are the API's.
    const { initialDelaySeconds = 0, periodSeconds = 10, failureThreshold = 3 } = startupProbe
    return Date.now() < Date.parse(state.running.startedAt) + (initialDelaySeconds + periodSeconds * failureThreshold) * 1_000
  })
}

/** Why a workload is not ready: its first pod that says something, with the last line of its log or the newest warning about it. */
async function explain(cluster: Cluster, workload: Live): Promise<Pick<WorkloadState, 'reason' | 'starts'>> {
  const { namespace = '' } = workload.metadata
  const pods = (await podsOf(cluster, workload)).filter(pod => !isReady(pod) && !pod.metadata.deletionTimestamp)
  for (const pod of pods) {
    const found = reasonOfPod(pod)
    if (!found) continue
    const log = found.crashed && found.container ? await cluster.logTail(namespace, pod.metadata.name, found.container) : ''
    return { reason: printable(`pod ${pod.metadata.name}: ${found.text}${log ? `: ${shorten(log)}` : ''}`) }
  }
  const [pod] = pods
  if (!pod) return {}
  const newest = await newestWarning(cluster, namespace, pod.metadata.name)
  const warning = newest?.startsWith(STARTUP_FAILED) && mayStillStart(pod) ? undefined : newest
  return { reason: printable(`pod ${pod.metadata.name}: ${warning ?? 'starts'}`), ...(warning === undefined && { starts: true }) }
}

/** What went wrong last with an object of a name, as its events tell. */
export async function newestWarning(cluster: Cluster, namespace: string, name: string): Promise<string | undefined> {
  const events = (await cluster.list('v1', 'Event', namespace)) as (Live & {
    involvedObject: { name: string }
    type: string
    reason: string
    message: string
    lastTimestamp?: string
  })[]
  const warnings = events.filter(({ type, involvedObject }) => type === 'Warning' && involvedObject.name === name)
  const newest = warnings.sort((a, b) => Date.parse(String(b.lastTimestamp ?? 0)) - Date.parse(String(a.lastTimestamp ?? 0)))[0]
  return newest && shorten(`${newest.reason}: ${newest.message}`)
}

const shorten = (text: string): string => {
  const [line = ''] = text.trim().split('\n').slice(-1)
  return line.length > 300 ? `${line.slice(0, 300)}...` : line
}

const WORKLOADS = ['Deployment', 'StatefulSet', 'DaemonSet']
/** What prometheus-operator makes of its own kinds. */
const MADE: Record<string, (name: string) => string> = { Prometheus: name => `prometheus-${name}`, Alertmanager: name => `alertmanager-${name}` }

/** The workloads among manifests, and those that operators will make of them. */
export const workloadsOf = (manifests: readonly Reference[]): Reference[] =>
  manifests.flatMap(({ apiVersion, kind, metadata }) => {
    const { name, namespace } = metadata
    const where = namespace ? { namespace } : {}
    const made = MADE[kind]
    if (made) return [{ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: made(name), ...where } }]
    return WORKLOADS.includes(kind) ? [{ apiVersion, kind, metadata: { name, ...where } }] : []
  })

/** Name of the program that a workload runs: what an operator makes has the kind that asks for it before its name. */
export const programOf = ({ kind, metadata: { name } }: Reference): string =>
  kind === 'StatefulSet' ? name.replace(/^(prometheus|alertmanager)-/, '') : name

export async function stateOf(cluster: Cluster, reference: Reference): Promise<WorkloadState> {
  const live = await cluster.read(reference)
  const { name, namespace = '' } = reference.metadata
  if (!live) return { kind: reference.kind, namespace, name, ready: 0, desired: 1, done: false, reason: 'is not there' }
  const progress = progressOf(live)
  return { ...progress, ...(progress.done ? {} : await explain(cluster, live)) }
}

export const describeState = ({ name, ready, desired, reason }: WorkloadState): string =>
  `${name}: ${ready}/${desired} ready${reason ? `, ${reason}` : ''}`

export interface FollowOptions {
  timeoutMs: number
  signal: AbortSignal
  /** Names of workloads that nothing waits for. */
  optional?: readonly string[]
}

/**
 * Waits until every workload runs its newest template, showing what it waits for.
 * @throws CommandError at the deadline, with the last thing seen of each that is not there yet
 */
export async function followRollouts(
  cluster: Cluster,
  references: readonly Reference[],
  { timeoutMs, signal, optional = [] }: FollowOptions,
): Promise<void> {
  const endsAt = performance.now() + timeoutMs
  const line = liveLine()
  for (;;) {
    const states = await Promise.all(references.map(reference => stateOf(cluster, reference)))
    const waiting = states.filter(({ done }) => !done)
    const needed = waiting.filter(({ name }) => !optional.includes(name))
    if (needed.length === 0) {
      line.clear()
      for (const state of waiting) say(`${yellow('!')} ${describeState(state)} (nothing waits for it)`)
      return
    }
    const who = needed.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`)
    line.show(`  ${needed.map(describeState).join(' · ')}`, who.join())
    if (performance.now() > endsAt) {
      line.clear()
      const [first] = needed
      throw new CommandError(
        `not ready after ${Math.round(timeoutMs / 1_000)} s:\n${needed.map(state => `  ${describeState(state)}`).join('\n')}`,
        toRun(kubectl(cluster.context, `-n ${first?.namespace} describe ${first?.kind.toLowerCase()} ${first?.name}`)),
      )
    }
    await pause(POLL_MS, signal)
  }
}
