import { images } from '../../../infra/platform/images.ts'
import { cluster, eventually } from './target.ts'

/** Who asks: a pod with a program's label, so that its policies hold for it, but never ready, so that no Service sends it anything. */
export interface Identity {
  namespace: string
  /** Value of `app.kubernetes.io/name`; a stranger without one. */
  name?: string
}

export interface Endpoint {
  title: string
  address: string
  port: number
}

const podName = (index: number) => `probe-${index}`

/**
 * Which endpoints each identity can open a connection to.
 * @returns for each identity, in order, the titles of those that answered
 */
export async function reachable(identities: readonly Identity[], endpoints: readonly Endpoint[]): Promise<Set<string>[]> {
  const targets = endpoints.map(({ address, port }, index) => `${index} ${address} ${port}`).join('\n')
  // Policies reach a new pod a moment after it starts: it asks until the answers are the same twice.
  const script = [
    // nc ends with 1 when it cannot connect, and stays until it is stopped when the other side says nothing.
    'ask() { while read -r i a p; do (timeout 4 nc -w 2 "$a" "$p" </dev/null >/dev/null 2>&1; [ $? -eq 1 ] || echo "open $i") & done <<EOF',
    targets,
    'EOF',
    'wait; }',
    'sleep 2; was="$(ask | sort)"',
    'for n in 1 2 3 4; do sleep 1; now="$(ask | sort)"; [ "$now" = "$was" ] && break; was="$now"; done',
    'echo "$now"; echo done; sleep 600',
  ].join('\n')
  const pods = identities.map(({ namespace, name }, index) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName(index), namespace, labels: name ? { 'app.kubernetes.io/name': name } : {} },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'probe',
          image: images.probe,
          command: ['sh', '-c', script],
          readinessProbe: { exec: { command: ['false'] } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  }))
  try {
    await Promise.all(pods.map(pod => cluster.remove(pod)))
    for (const pod of pods) {
      await eventually(
        () => cluster.read(pod),
        found => {
          if (found) throw new Error(`${pod.metadata.name} of an earlier run is still there`)
        },
        30_000,
      )
    }
    await Promise.all(pods.map(pod => cluster.create(pod)))
    return await Promise.all(
      pods.map(async ({ metadata: { namespace, name } }) => {
        const log = await eventually(
          () => cluster.logTail(namespace, name, 'probe', { lines: 500 }),
          text => {
            if (!text.endsWith('done')) throw new Error(`probe ${namespace}/${name} has not answered: ${text}`)
          },
          90_000,
        )
        const open = [...log.matchAll(/^open (\d+)$/gm)].map(([, index]) => endpoints[Number(index)]?.title as string)
        return new Set(open)
      }),
    )
  } finally {
    await Promise.all(pods.map(pod => cluster.remove(pod)))
  }
}
