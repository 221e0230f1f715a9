import { cluster, eventually, NAMESPACE, readyPods } from './target.ts'

const autoscaler = (name: string) => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name, namespace: NAMESPACE },
})

/** Sets the autoscaler's bounds, as somebody would who needs more or fewer pods now. */
export async function setBounds(service: string, min: number, max: number): Promise<void> {
  const live = await cluster.read(autoscaler(service))
  if (!live) throw new Error(`${service} has no autoscaler`)
  const { scaleTargetRef, metrics, behavior } = live.spec
  await cluster.apply({ ...autoscaler(service), spec: { scaleTargetRef, metrics, behavior, minReplicas: min, maxReplicas: max } } as never)
}

/** Holds a service at a number of pods and waits until that many are ready and no other is left. */
export async function scaleTo(service: string, count: number, timeoutMs = 120_000): Promise<void> {
  await setBounds(service, count, count)
  await eventually(
    async () => ({
      all: (await cluster.list('v1', 'Pod', NAMESPACE, `app.kubernetes.io/name=${service}`)).length,
      ready: (await readyPods(service)).length,
    }),
    ({ all, ready }) => {
      if (ready !== count || all !== count) throw new Error(`${service} has ${all} pods, ${ready} of them ready, not ${count}`)
    },
    timeoutMs,
  )
}
