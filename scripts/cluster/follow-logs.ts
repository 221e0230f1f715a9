import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import type { Cluster } from './cluster.ts'

export interface FollowOptions {
  namespace: string
  /** Pods, e.g. `app.kubernetes.io/name=order`. @default all */
  selector?: string
  /** Containers by their name. @default all, init containers too */
  container?: string
  /** Lines of each container to begin with. */
  lines: number
  /** @default goes on for ever */
  signal?: AbortSignal
}

const LOOK_MS = 2_000

interface ContainerStatus {
  name: string
  restartCount: number
  state?: { running?: object; terminated?: object }
}

/** Follows every container that has started, and those that start later, until the signal. */
export async function followLogs(
  cluster: Cluster,
  { namespace, selector, container, lines, signal = new AbortController().signal }: FollowOptions,
  print: (pod: string, container: string, line: string) => void,
): Promise<void> {
  /** A container anew after each restart. */
  const following = new Set<string>()
  /** Whose lines to begin with were printed. */
  const seen = new Set<string>()
  while (!signal.aborted) {
    for (const { metadata, status } of await cluster.list('v1', 'Pod', namespace, selector)) {
      const pod: string = metadata.name
      const statuses: ContainerStatus[] = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
      for (const { name, restartCount, state } of statuses) {
        const key = `${pod}/${name}/${restartCount}`
        if ((container && name !== container) || !(state?.running || state?.terminated) || following.has(key)) continue
        following.add(key)
        const copy = async () => {
          const input = await cluster.followLog(namespace, pod, name, { lines: seen.has(key) ? 0 : lines, signal })
          seen.add(key)
          for await (const line of createInterface({ input })) print(pod, name, line)
        }
        // A stream also ends when the log is rotated or its node does not answer; one of a container that has ended has no more to say.
        const again = () => state.running && following.delete(key)
        void copy().then(again, () => following.delete(key))
      }
    }
    // An abort is told by the loop's own condition.
    await pause(LOOK_MS, undefined, { signal }).catch(() => {})
  }
}
