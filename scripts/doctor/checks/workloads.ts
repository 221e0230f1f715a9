import { DASHBOARD, type Manifest } from '@fairlead/infra/tools'
import type { Reference } from '../../cluster/cluster.ts'
import { describeState, programOf, stateOf, workloadsOf } from '../../cluster/rollout.ts'
import { toRun } from '../../remedy.ts'
import { type Check, Fault } from '../check.ts'
import { type Context, until } from '../context.ts'

/** A rollout that goes on may need this long for a pod. */
const ROLLOUT_MS = 15_000

/** A new pod has no metrics before metrics-server has seen it twice, 15 s apart, and an autoscaler looks every 15 s; metrics-server starts too. */
const METRICS_MS = 90_000

/** Whether every program runs as it should, and could start again. */
export const workloadChecks = (context: Context): Check[] => [
  { name: 'images', run: () => imagesAreHad(context) },
  { name: 'mounted files', run: () => mountsAreThere(context) },
  ...workloadsOf(context.manifests).map(
    (reference): Check => ({
      name: `pods of ${reference.metadata.name}`,
      run: async signal => {
        const state = await until(
          () => stateOf(context.cluster, reference),
          ({ done, reason, starts }) => done || (reason !== undefined && !starts),
          ROLLOUT_MS,
          signal,
        )
        if (!state.done) throw await context.blame(describeState(state), concerns(reference), toRun(context.fairlead('status')))
        return `${state.ready}/${state.desired} ready`
      },
    }),
  ),
  ...context.system.services.map(({ name }): Check => ({ name: `autoscaler of ${name}`, run: signal => autoscalerIsActive(context, name, signal) })),
]

/** What a workload is made from: itself, what makes it, and the files that its pods mount. */
const concerns =
  (workload: Reference) =>
  ({ kind, metadata: { name, namespace, labels } }: Manifest): boolean =>
    namespace === workload.metadata.namespace &&
    (kind === 'ConfigMap'
      ? labels?.['app.kubernetes.io/component'] !== DASHBOARD
      : ['Deployment', 'StatefulSet', 'Prometheus', 'Alertmanager', 'ServiceAccount'].includes(kind) && name === programOf(workload))

interface Running {
  image: string
  state?: { waiting?: { reason?: string } }
}

/** Whether every node could get what it is to run, and whether that is what the sources here give. */
async function imagesAreHad({ cluster, manifests, system, settings, blame, kubectl, fairlead }: Context): Promise<string> {
  const namespaces = new Set(workloadsOf(manifests).map(({ metadata }) => metadata.namespace))
  const pods = (await Promise.all([...namespaces].map(namespace => cluster.list('v1', 'Pod', namespace)))).flat()
  for (const { metadata, status } of pods) {
    const containers: Running[] = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
    const without = containers.find(({ state }) => /Image/.test(state?.waiting?.reason ?? ''))
    if (without)
      throw await blame(
        `the node of pod ${metadata.namespace}/${metadata.name} cannot get ${without.image} (${without.state?.waiting?.reason})`,
        ({ kind, metadata: { name, namespace } }) =>
          kind === 'Deployment' && namespace === metadata.namespace && metadata.name.startsWith(`${name}-`),
        toRun(kubectl(`-n ${metadata.namespace} describe pod ${metadata.name}`), fairlead('deploy')),
      )
  }
  const others = await Promise.all(
    system.services.map(async ({ name }) => {
      const reference = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: settings.NAMESPACE } }
      const imageOf = (deployment: object | undefined) =>
        (deployment as { spec: { template: { spec: { containers: { image: string }[] } } } } | undefined)?.spec.template.spec.containers[0]?.image
      const wanted = imageOf(manifests.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name))
      const runs = imageOf(await cluster.read(reference))
      return runs && runs !== wanted ? [`${name} runs ${runs}; the sources here give ${wanted}, which a deploy would bring`] : []
    }),
  )
  return [`of ${pods.length} pods`, ...others.flat()].join('; ')
}

interface Volume {
  secret?: { secretName: string; optional?: boolean }
  configMap?: { name: string; optional?: boolean }
  projected?: { sources: { secret?: { name: string; optional?: boolean }; configMap?: Volume['configMap'] }[] }
}

/** What a volume is made of: itself, or each of its sources. */
const partsOf = ({ projected, ...volume }: Volume): Volume[] =>
  projected
    ? projected.sources.map(({ secret, configMap }) => ({
        ...(secret && { secret: { ...secret, secretName: secret.name } }),
        ...(configMap && { configMap }),
      }))
    : [volume]

/** Whether all Secrets and ConfigMaps are there that pods mount: pods that run go on without, and no new one starts. */
async function mountsAreThere({ cluster, manifests, fairlead }: Context): Promise<string> {
  const wanted = new Map<string, { kind: 'Secret' | 'ConfigMap'; name: string; namespace: string; by: string }>()
  for (const { kind, metadata, spec } of manifests) {
    if (kind !== 'Deployment' && kind !== 'StatefulSet') continue
    const volumes: Volume[] = (spec as { template: { spec: { volumes?: Volume[] } } }).template.spec.volumes ?? []
    const namespace = metadata.namespace ?? ''
    for (const { secret, configMap } of volumes.flatMap(partsOf)) {
      if (secret && !secret.optional)
        wanted.set(`Secret ${namespace}/${secret.secretName}`, { kind: 'Secret', name: secret.secretName, namespace, by: metadata.name })
      if (configMap && !configMap.optional)
        wanted.set(`ConfigMap ${namespace}/${configMap.name}`, { kind: 'ConfigMap', name: configMap.name, namespace, by: metadata.name })
    }
  }
  for (const [title, { kind, name, namespace, by }] of wanted) {
    if (!(await cluster.exists({ apiVersion: 'v1', kind, metadata: { name, namespace } })))
      throw new Fault(
        `${title}, which pods of ${by} mount, is not there: those that run go on, no new one starts`,
        toRun(fairlead(kind === 'Secret' ? 'secrets' : 'deploy')),
      )
  }
  return `${wanted.size} there`
}

async function autoscalerIsActive({ cluster, settings, kubectl, fairlead }: Context, name: string, signal: AbortSignal): Promise<string> {
  const reference = { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { name, namespace: settings.NAMESPACE } }
  const stateNow = async () => {
    const { spec, status, metadata } = (await cluster.read(reference)) ?? {}
    const active = (status?.conditions ?? []).find(({ type }: { type: string }) => type === 'ScalingActive')
    const since = Date.parse(active?.lastTransitionTime ?? metadata?.creationTimestamp)
    return { found: metadata !== undefined, active, since, bounds: `${spec?.minReplicas} to ${spec?.maxReplicas}`, now: status?.currentReplicas }
  }
  const isActive = (state: { active?: { status: string } }) => state.active?.status === 'True'
  const first = await stateNow()
  // One that has had no metrics for long has waited enough.
  const youngMs = first.since + METRICS_MS - Date.now()
  const { found, active, bounds, now } = isActive(first) ? first : await until(stateNow, isActive, Math.max(ROLLOUT_MS, youngMs || 0), signal)
  if (!found) throw new Fault(`HorizontalPodAutoscaler ${name} is not there: nothing adds pods under load`, toRun(fairlead('deploy')))
  if (active?.status !== 'True')
    throw new Fault(
      `nothing adds pods under load: ${active?.message ?? 'it has not been looked at yet'}`,
      toRun(kubectl('get apiservice v1beta1.metrics.k8s.io')),
    )
  return `${now} pods of ${bounds}`
}
