import { calleesOf, podsHost, portsBetween } from '@fairlead/chassis'
import { imagesFor } from '@fairlead/infra/tools'
import type { Live } from '../../cluster/cluster.ts'
import { isReady, programOf, workloadsOf } from '../../cluster/rollout.ts'
import { toRun } from '../../remedy.ts'
import { CommandError } from '../../terminal.ts'
import { type Check, Fault, NotHere } from '../check.ts'
import type { Context } from '../context.ts'
import { allows, type End } from '../expected-traffic.ts'
import { type Identity, probe, type Seen } from '../probe.ts'

const NAME = 'app.kubernetes.io/name'

/** A place that listens, with who may reach it by the graph. */
interface Listening extends End {
  program: string
  title: string
  address: string
  port: number
}

interface Asking extends End {
  title: string
  /** A stranger has none. */
  name?: string
}

interface Survey {
  callers: { caller: Asking; seen: Seen }[]
  listening: Listening[]
}

/** What the network lets through, as pods with the labels of the programs see it: names, edges, and all that is no edge. */
export function networkChecks(context: Context): Check[] {
  const { system, settings } = context
  let survey: Promise<Survey> | undefined
  // All checks share one look; the first one that runs begins it, and alone says why there is none.
  const look = (signal: AbortSignal) => {
    if (survey)
      return survey.catch(error => {
        throw error instanceof CommandError ? new NotHere(`the network could not be looked at: ${error.message}`) : error
      })
    survey = surveyNetwork(context, signal)
    return survey
  }
  return [
    { name: 'DNS', run: async signal => namesAreFound(context, await look(signal)) },
    ...system.services.flatMap(service =>
      calleesOf(system, service).map(
        (to): Check => ({
          name: `edge ${service.name} -> ${to.name}`,
          run: async signal =>
            connects(
              context,
              await look(signal),
              caller => caller === service.name,
              ({ program, port }) => program === to.name && portsBetween(system, service, to).includes(port),
            ),
        }),
      ),
    ),
    {
      name: 'edges to the platform',
      run: async signal => {
        const names = system.services.map(({ name }) => name)
        const isService = (name?: string) => names.includes(name ?? '')
        return connects(
          context,
          await look(signal),
          () => true,
          ({ program }, caller) => !(isService(program) && isService(caller)),
          settings.PLATFORM === 'bundled',
        )
      },
    },
    { name: 'policies', run: async signal => nothingElseConnects(context, await look(signal)) },
  ]
}

const lookups = ({ system, settings }: Context): string[] =>
  system.services.flatMap(service => [service.name, podsHost(service)].map(name => `${name}.${settings.NAMESPACE}.svc`))

async function surveyNetwork(context: Context, signal: AbortSignal): Promise<Survey> {
  const { cluster, manifests, settings } = context
  const ours = new Set([
    settings.NAMESPACE,
    ...(settings.PLATFORM === 'bundled' ? [settings.INGRESS_NAMESPACE, settings.MONITORING_NAMESPACE, settings.TRACING_NAMESPACE] : []),
  ])
  const pods = (await Promise.all([...ours].map(namespace => cluster.list('v1', 'Pod', namespace))))
    .flat()
    .filter(pod => isReady(pod) && !pod.metadata.deletionTimestamp)
  const listening: Listening[] = []
  const asking: Asking[] = []
  const programs = new Set(workloadsOf(manifests).map(workload => `${workload.metadata.namespace}/${programOf(workload)}`))
  for (const program of programs) {
    const [namespace = '', name = ''] = program.split('/')
    if (!ours.has(namespace)) continue
    const labels = { [NAME]: name }
    asking.push({ title: `${namespace}/${name}`, name, namespace, labels })
    const pod = pods.find(({ metadata }) => metadata.namespace === namespace && metadata.labels?.[NAME] === name)
    if (pod)
      listening.push(
        ...portsOf(pod).map(port => ({ program: name, title: `${name}:${port}`, namespace, labels, address: pod.status.podIP as string, port })),
      )
  }
  const strangers = settings.PLATFORM === 'bundled' ? [...ours, 'default'] : [...ours]
  asking.push(...strangers.map(namespace => ({ title: `a stranger in ${namespace}`, namespace, labels: {} })))
  const identities: Identity[] = asking.map(({ name, namespace }) => ({ namespace, ...(name && { name }) }))
  const seen = await probe(cluster, identities, { endpoints: listening, names: lookups(context), image: imagesFor(settings).probe, signal })
  return { listening, callers: asking.map((caller, index) => ({ caller, seen: seen[index] as Seen })) }
}

interface Container {
  ports?: { containerPort: number; protocol?: string }[]
}

const portsOf = ({ spec }: Live): number[] => [
  ...new Set(
    [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ ports = [] }: Container) =>
      ports.filter(({ protocol }) => protocol !== 'UDP').map(({ containerPort }) => containerPort),
    ),
  ),
]

async function namesAreFound(context: Context, { callers }: Survey): Promise<string> {
  const { cluster, system, settings, kubectl } = context
  const services = callers.filter(({ caller: { name } }) => system.services.some(service => service.name === name))
  for (const name of lookups(context)) {
    const blind = services.filter(({ seen }) => !seen.found.has(name)).map(({ caller }) => caller.name)
    if (blind.length === 0) continue
    const symptom = `${name} is not found from pods of ${blind.join(', ')}`
    if (!settings.DNS.some(({ podSelector }) => podSelector?.matchLabels?.['k8s-app'] === 'kube-dns'))
      throw await context.blame(symptom, ({ kind }) => kind === 'NetworkPolicy' || kind === 'Service', {
        advice: "is the setting DNS what pods' /etc/resolv.conf names?",
      })
    const servers = await cluster.list('v1', 'Pod', 'kube-system', 'k8s-app=kube-dns')
    if (!servers.some(isReady))
      throw new Fault(
        `${symptom}: kube-system/coredns has no ready pod, so no name is found in the cluster`,
        toRun(kubectl('-n kube-system get deploy,pods -l k8s-app=kube-dns')),
      )
    throw await context.blame(
      symptom,
      ({ kind }) => kind === 'NetworkPolicy' || kind === 'Service',
      toRun(kubectl('-n kube-system logs -l k8s-app=kube-dns')),
    )
  }
  return `${lookups(context).length} names found from pods of ${services.length} services`
}

type Picks = (end: Listening, caller: string | undefined) => boolean

/** Every pair that the graph's policies allow, among some. */
function pairs({ manifests }: Context, { callers, listening }: Survey, allowed: boolean) {
  const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy')
  return callers.flatMap(({ caller, seen }) =>
    listening.filter(end => allows(policies, caller, end, end.port) === allowed).map(end => ({ caller, end, open: seen.open.has(end.title) })),
  )
}

async function connects(
  context: Context,
  survey: Survey,
  from: (caller: string | undefined) => boolean,
  picks: Picks,
  expected = true,
): Promise<string> {
  const chosen = pairs(context, survey, true).filter(({ caller, end }) => from(caller.name) && picks(end, caller.name))
  const refused = chosen.filter(({ open }) => !open)
  const [first] = refused
  if (chosen.length === 0 && expected) throw new Fault('the callee has no ready pod to try', toRun(context.fairlead('status')))
  if (chosen.length === 0) throw new NotHere('nothing of the platform is ours to try')
  if (!first) return `${chosen.length} connect`
  const symptom = `${first.caller.title} cannot connect to ${first.end.title}${refused.length > 1 ? `, nor can ${refused.length - 1} more pairs that the graph allows` : ''}`
  throw await context.blame(
    symptom,
    isPolicyOf(refused.flatMap(({ caller, end }) => [caller, end])),
    toRun(context.kubectl(`-n ${first.end.namespace} describe networkpolicy`)),
  )
}

async function nothingElseConnects(context: Context, survey: Survey): Promise<string> {
  const closed = pairs(context, survey, false)
  const open = closed.filter(pair => pair.open)
  const [first] = open
  if (!first) return `${closed.length} pairs that are no edge are refused`
  const symptom = `${first.caller.title} can connect to ${first.end.title}${open.length > 1 ? `, and ${open.length - 1} more pairs that are no edge can connect` : ''}`
  const ends = open.flatMap(({ caller, end }) => [caller, end])
  const foreign = await foreignPolicies(
    context,
    ends.map(({ namespace }) => namespace),
  )
  const otherwise = { advice: 'does the network of this cluster enforce NetworkPolicies? (kindnet does from kind 0.24 on)' }
  const [one] = foreign
  if (!one) throw await context.blame(symptom, isPolicyOf(ends), otherwise)
  // Of both kinds of causes, for what one opens the other may open, too.
  const ours = await context.drift(isPolicyOf(ends))
  const causes = [...foreign.map(name => ({ object: `NetworkPolicy ${name}`, difference: 'not of the graph' })), ...ours]
  throw new Fault(symptom, toRun(context.kubectl(`-n ${one.split('/')[0]} describe networkpolicy`)), causes)
}

/** Policies that somebody else has put beside those of the graph. */
async function foreignPolicies({ cluster, manifests }: Context, namespaces: readonly string[]): Promise<string[]> {
  const known = new Set(manifests.filter(({ kind }) => kind === 'NetworkPolicy').map(({ metadata }) => `${metadata.namespace}/${metadata.name}`))
  const live = (await Promise.all([...new Set(namespaces)].map(namespace => cluster.list('networking.k8s.io/v1', 'NetworkPolicy', namespace)))).flat()
  return live.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).filter(name => !known.has(name))
}

const isPolicyOf =
  (ends: readonly End[]) =>
  ({ kind, metadata }: { kind: string; metadata: { name: string; namespace?: string } }): boolean =>
    kind === 'NetworkPolicy' &&
    ends.some(({ namespace, labels }) => namespace === metadata.namespace && [labels[NAME], 'default-deny'].includes(metadata.name))
