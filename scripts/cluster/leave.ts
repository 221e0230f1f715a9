import { pause } from '../pause.ts'
import { kubectl, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import { inParallel, nameOf, waves } from './apply.ts'
import type { Cluster, Live, Reference } from './cluster.ts'
import { podsOf, workloadsOf } from './rollout.ts'

const POLL_MS = 1_000

export interface LeaveOptions {
  timeoutMs: number
  signal: AbortSignal
}

/** Waits until pods have gone. @throws CommandError at the deadline, naming those that are still there */
async function awaitGone(cluster: Cluster, find: () => Promise<Live[]>, { timeoutMs, signal }: LeaveOptions): Promise<void> {
  const endsAt = performance.now() + timeoutMs
  for (let pods = await find(); pods.length > 0; pods = await find()) {
    const [{ metadata }] = pods as [Live]
    if (performance.now() > endsAt)
      throw new CommandError(
        `after ${Math.round(timeoutMs / 1_000)} s still there: ${pods.map(nameOf).join(', ')}; nothing was taken away that they may need`,
        toRun(kubectl(cluster.context, `-n ${metadata.namespace} describe pod ${metadata.name}`)),
      )
    await pause(POLL_MS, signal)
  }
}

const readAll = async (cluster: Cluster, references: readonly Reference[]): Promise<Live[]> =>
  (await Promise.all(references.map(reference => cluster.read(reference)))).filter(live => live !== undefined)

/** Waits for the pods that workloads have replaced: a Deployment no longer counts them while they finish their requests. */
export async function awaitReplaced(cluster: Cluster, workloads: readonly Reference[], options: LeaveOptions): Promise<void> {
  const live = await readAll(cluster, workloads)
  const leaving = async () =>
    (await Promise.all(live.map(workload => podsOf(cluster, workload)))).flat().filter(({ metadata }) => metadata.deletionTimestamp)
  await awaitGone(cluster, leaving, options)
}

/**
 * Deletes in the opposite order of an apply: pods keep their names, policies and rights until the last of them has gone.
 * @returns what was there, as `Kind namespace/name`
 */
export async function removeAll(cluster: Cluster, references: readonly Reference[], options: LeaveOptions): Promise<string[]> {
  const removed: string[] = []
  for (const wave of waves(references).reverse()) {
    const workloads = await readAll(cluster, workloadsOf(wave))
    await inParallel(wave, async reference => {
      options.signal.throwIfAborted()
      if (await cluster.remove(reference)) removed.push(nameOf(reference))
    })
    await awaitGone(cluster, async () => (await Promise.all(workloads.map(workload => podsOf(cluster, workload)))).flat(), options)
  }
  return removed
}
