import { imageReferences } from '../../../infra/kit/image/image.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { app } from '../../../infra/main.ts'
import { cluster, eventually, NAMESPACE, readyPods, settings } from './target.ts'

const autoscaler = (name: string) => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name, namespace: NAMESPACE },
})

/** Sets the autoscaler's bounds, as somebody would who needs more or fewer pods now. */
const setBounds = (service: string, minReplicas: number, maxReplicas: number): Promise<void> =>
  cluster.patch(autoscaler(service), { spec: { minReplicas, maxReplicas } })

/** Brings every autoscaler back to what the graph says. */
export async function restoreBounds(): Promise<void> {
  const images = await imageReferences(app, settings)
  const { own } = synthesize({ ...app, settings, images })
  for (const manifest of own.filter(({ kind }) => kind === 'HorizontalPodAutoscaler')) await cluster.apply(manifest)
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
    1_000,
  )
}
