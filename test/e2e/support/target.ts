import { setTimeout as pause } from 'node:timers/promises'
import { settingsFor } from '../../../infra/kit/settings/settings.ts'
import { system } from '../../../infra/system.ts'
import { withApiServer } from '../../../scripts/cluster/api-server.ts'
import { type Cluster, type Live, openCluster } from '../../../scripts/cluster/cluster.ts'
import { ingressUrl as defaultUrl } from '../../../scripts/cluster/ingress-url.ts'

/** The cluster that is tested: `CONTEXT` of the kubeconfig, its ingress at `INGRESS_URL`. */
export const context = process.env.CONTEXT ?? 'kind-fairlead'
export const cluster: Cluster = openCluster(context)
/** As up and deploy have them. */
export const settings = await withApiServer(cluster, settingsFor(context, process.env, system))
export const ingressUrl = process.env.INGRESS_URL ?? defaultUrl(settings)

export const NAMESPACE = settings.NAMESPACE

/** Pods of a program that are ready and stay. */
export async function readyPods(name: string, namespace = NAMESPACE): Promise<Live[]> {
  const pods = await cluster.list('v1', 'Pod', namespace, `app.kubernetes.io/name=${name}`)
  return pods.filter(
    ({ metadata, status }) =>
      !metadata.deletionTimestamp && status?.conditions?.some(({ type, status: is }: Record<string, string>) => type === 'Ready' && is === 'True'),
  )
}

/** Asks until the answer passes. @throws what the last check threw */
export async function eventually<T>(ask: () => Promise<T>, check: (answer: T) => void, timeoutMs: number, everyMs = 500): Promise<T> {
  const endsAt = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    try {
      check(answer)
      return answer
    } catch (error) {
      if (performance.now() > endsAt) throw error
    }
    await sleep(everyMs)
  }
}

export const sleep: (ms: number) => Promise<void> = pause

/** Says a figure, since a test that passes is silent. */
export const report = (text: string): void => {
  process.stderr.write(`    ${text}\n`)
}
