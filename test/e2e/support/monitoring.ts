import { expect } from 'vitest'
import type { Forwarded } from '../../../scripts/cluster/forward.ts'
import { cluster, eventually, readyPods } from './target.ts'

// biome-ignore lint/suspicious/noExplicitAny: answers of several query APIs
export const getJson = async (url: string): Promise<any> => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) })
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`)
  return answer.json()
}

/** A port of the one pod of a program, which may have been moved to another node a moment ago. */
export async function forwardTo(name: string, namespace: string, port: number): Promise<Forwarded> {
  const [pod] = await eventually(
    () => readyPods(name, namespace),
    pods => expect(pods, `${namespace}/${name}`).toHaveLength(1),
    90_000,
  )
  return cluster.forward(namespace, pod?.metadata.name ?? '', port)
}
