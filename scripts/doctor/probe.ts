import { randomBytes } from 'node:crypto'
import { pinned } from '@fairlead/infra/tools'
import { inParallel } from '../cluster/apply.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { ApiError } from '../cluster/rest.ts'
import { newestWarning, reasonOfPod } from '../cluster/rollout.ts'
import { pause } from '../pause.ts'
import { kubectl, toRun } from '../remedy.ts'
import { Fault, NotHere } from './check.ts'

/** Who asks: a pod with a program's label, so that its policies hold for it, but never ready, so that no Service sends it anything. */
export interface Identity {
  namespace: string
  /** Value of `app.kubernetes.io/name`; a stranger without one. */
  name?: string
}

export interface Endpoint {
  /** What it is called in the answer. */
  title: string
  address: string
  port: number
}

export interface Seen {
  /** Titles of endpoints that took a connection. */
  open: Set<string>
  /** Names that the cluster's DNS knew, as they were asked for. */
  found: Set<string>
}

/** Marks the pods, so that a later run can sweep up what a killed one has left. */
export const PROBE = 'fairlead.dev/probe'
const LIFE_SECONDS = 180
const ANSWER_MS = 90_000
/** How long a reason may hold: the scheduler is a moment behind what leaves, and a registry may be asked a second time. */
const UNSCHEDULED_MS = 3_000
const WAITING_MS = 20_000
/** What a node must have left for each pod: next to nothing, for doctor is asked on full clusters too. */
const REQUESTS = { cpu: '1m', memory: '8Mi' }

/**
 * Starts a pod for each identity, which tries every endpoint and looks every name up, and removes it.
 * @param names names in the cluster without its domain, e.g. `stock-pods.acme.svc`
 * @returns what each identity saw, in their order
 * @throws Fault naming the pod that has not answered, and why as far as its status tells
 */
export async function probe(
  cluster: Cluster,
  identities: readonly Identity[],
  {
    endpoints,
    names = [],
    image = pinned.probe,
    signal,
  }: { endpoints: readonly Endpoint[]; names?: readonly string[]; image?: string; signal?: AbortSignal },
): Promise<Seen[]> {
  const id = randomBytes(3).toString('hex')
  const pods = identities.map((identity, index) => probePod(`probe-${id}-${index}`, identity, image, scriptFor(endpoints, names)))
  try {
    for (const namespace of new Set(identities.map(identity => identity.namespace))) await sweep(cluster, namespace)
    // All are waited for, so that none is made after the others were removed.
    const made = await Promise.allSettled(pods.map(pod => cluster.create(pod)))
    const refused = made.find(result => result.status === 'rejected')?.reason
    if (refused instanceof ApiError && refused.status === 403) throw new NotHere(`the network cannot be looked at from inside: ${refused.message}`)
    if (refused) throw refused
    return await Promise.all(pods.map(({ metadata }) => answerOf(cluster, metadata, { endpoints, names, signal })))
  } finally {
    await inParallel(pods, pod => cluster.remove(pod))
  }
}

async function answerOf(
  cluster: Cluster,
  { namespace, name }: { namespace: string; name: string },
  { endpoints, names, signal }: { endpoints: readonly Endpoint[]; names: readonly string[]; signal: AbortSignal | undefined },
): Promise<Seen> {
  const startedAt = performance.now()
  let waits: { text: string; since: number } | undefined
  for (;;) {
    const log = await cluster.logTail(namespace, name, 'probe', { lines: 2_000 })
    if (log.endsWith('done')) {
      const indexes = (what: string) => [...log.matchAll(new RegExp(`^${what} (\\d+)$`, 'gm'))].map(([, index]) => Number(index))
      return {
        open: new Set(indexes('open').map(index => endpoints[index]?.title ?? '')),
        found: new Set(indexes('found').map(index => names[index] ?? '')),
      }
    }
    signal?.throwIfAborted()
    const now = performance.now()
    const pod = await cluster.read({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } })
    const reason = pod && reasonOfPod(pod)
    waits = reason && { text: reason.text, since: waits?.text === reason.text ? waits.since : now }
    const waitedMs = waits ? now - waits.since : 0
    if (reason?.unscheduled !== undefined && waitedMs >= UNSCHEDULED_MS)
      throw new Fault(`probe pods cannot be scheduled: ${reason.unscheduled}`, {
        advice: `each requests ${REQUESTS.cpu} of CPU and ${REQUESTS.memory} of memory; make room on a node, or add one`,
        commands: [kubectl(cluster.context, 'describe nodes')],
      })
    const look = toRun(kubectl(cluster.context, `-n ${namespace} get events`))
    if (waits && waitedMs >= WAITING_MS) throw new Fault(`probe pod ${namespace}/${name} does not start: ${waits.text}`, look)
    if (now - startedAt > ANSWER_MS) {
      const said = waits?.text ?? (await newestWarning(cluster, namespace, name))
      throw new Fault(`probe pod ${namespace}/${name} has not answered in ${ANSWER_MS / 1_000} s${said ? `: ${said}` : ''}`, look)
    }
    await pause(500, signal)
  }
}

/** Policies reach a new pod a moment after it starts, so it asks until the answers are the same twice. */
function scriptFor(endpoints: readonly Endpoint[], names: readonly string[]): string {
  return [
    // nc ends with 1 when it cannot connect, and stays until it is stopped when the other side says nothing.
    'ask() { while read -r i a p; do (timeout 4 nc -w 2 "$a" "$p" </dev/null >/dev/null 2>&1; [ $? -eq 1 ] || echo "open $i") & done <<"EOF"',
    endpoints.map(({ address, port }, index) => `${index} ${address} ${port}`).join('\n'),
    'EOF',
    'wait; }',
    // The third entry of the search list is the cluster's domain: `<namespace>.svc.<domain> svc.<domain> <domain>`.
    "domain=$(sed -n 's/^search [^ ]* svc\\.\\([^ ]*\\).*/\\1/p' /etc/resolv.conf)",
    'look() { while read -r i n; do (timeout 6 nslookup "$n.$domain" >/dev/null 2>&1 && echo "found $i") & done <<"EOF"',
    names.map((name, index) => `${index} ${name}`).join('\n'),
    'EOF',
    'wait; }',
    'sleep 1; was="$(ask | sort)"',
    'for n in 1 2 3 4; do sleep 1; now="$(ask | sort)"; [ "$now" = "$was" ] && break; was="$now"; done',
    'echo "$now"; look; echo done; sleep 600',
  ].join('\n')
}

const probePod = (podName: string, { namespace, name }: Identity, image: string, script: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: podName, namespace, labels: { [PROBE]: 'true', ...(name && { 'app.kubernetes.io/name': name }) } },
  spec: {
    restartPolicy: 'Never',
    activeDeadlineSeconds: LIFE_SECONDS,
    terminationGracePeriodSeconds: 0,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: { runAsNonRoot: true, runAsUser: 10_001, runAsGroup: 10_001, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'probe',
        image,
        imagePullPolicy: 'IfNotPresent',
        command: ['sh', '-c', script],
        readinessProbe: { exec: { command: ['false'] } },
        resources: { requests: REQUESTS, limits: { cpu: '200m', memory: '64Mi' } },
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      },
    ],
  },
})

/** Removes pods of runs that were killed; those of a run beside this one live for less long. */
async function sweep(cluster: Cluster, namespace: string): Promise<void> {
  const left = await cluster.list('v1', 'Pod', namespace, `${PROBE}=true`)
  const over = left.filter(({ metadata }) => Date.now() - Date.parse(metadata.creationTimestamp) > LIFE_SECONDS * 1_000)
  await inParallel(over, pod => cluster.remove({ apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata as never }))
}
