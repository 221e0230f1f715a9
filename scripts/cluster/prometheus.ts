import { PROMETHEUS_PORT } from '@fairlead/infra/tools'
import { fairlead, toRun } from '../remedy.ts'
import { CommandError } from '../terminal.ts'
import type { Cluster } from './cluster.ts'
import { isReady } from './rollout.ts'

export interface Sample {
  labels: Record<string, string>
  /** NaN where there was nothing to divide by. */
  value: number
}

export interface Prometheus {
  /** What a PromQL expression gives now. */
  query(expression: string): Promise<Sample[]>
  close(): Promise<void>
}

const ANSWER_MS = 10_000

/**
 * The Prometheus of a cluster, through a port of one of its pods.
 * @throws CommandError when no pod of it is ready or it does not answer
 */
export async function openPrometheus(cluster: Cluster, namespace: string): Promise<Prometheus> {
  const pods = await cluster.list('v1', 'Pod', namespace, 'app.kubernetes.io/name=prometheus')
  const pod = pods.find(isReady)
  if (!pod) throw new CommandError(`no pod of Prometheus is ready in namespace ${namespace}`, toRun(fairlead(cluster.context, 'doctor')))
  const { url, close } = await cluster.forward(namespace, pod.metadata.name, PROMETHEUS_PORT)
  return {
    close,
    query: async expression => {
      const answer = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: expression })}`, {
        signal: AbortSignal.timeout(ANSWER_MS),
      }).catch((error: Error) => {
        throw new CommandError(
          `Prometheus does not answer (${((error.cause as Error | undefined) ?? error).message})`,
          toRun(fairlead(cluster.context, 'doctor')),
        )
      })
      const { data, error } = (await answer.json().catch(() => ({ error: `answer ${answer.status} is no JSON` }))) as {
        data?: { result: { metric: Record<string, string>; value: [number, string] }[] }
        error?: string
      }
      if (!data) throw new CommandError(`Prometheus refuses ${expression}: ${error}`)
      return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
    },
  }
}
