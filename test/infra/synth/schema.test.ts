import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { images, project, system } from '../../support/acme.ts'

const { own, platform } = synthesize({ ...project, settings: loadSettings({}, system), images })

/** The published schema of a kind, for Kubernetes 1.34 and prometheus-operator. @returns what is wrong with an object */
async function problemOf({ apiVersion, kind, ...rest }: Manifest): Promise<string | undefined> {
  const library = apiVersion.startsWith('monitoring.coreos.com/') ? '@kubernetes-models/prometheus-operator' : 'kubernetes-models'
  const { [kind]: Model } = await import(`${library}/${apiVersion}/${kind}`)
  try {
    new Model(rest).validate()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

const nameOf = ({ kind, metadata: { namespace = '', name } }: Manifest) => `${kind} ${namespace}/${name}`

describe('by its schema', () => {
  test.each([...own, ...platform].map(manifest => [nameOf(manifest), manifest] as const))('%s is valid', async (_, manifest) => {
    expect(await problemOf(manifest)).toBeUndefined()
  })

  // biome-ignore lint/suspicious/noExplicitAny: mutations reach into objects of many kinds
  test.each<[string, (object: any) => void, RegExp]>([
    ['Deployment acme/stock', object => delete object.spec.selector, /selector/],
    ['Deployment acme/stock', object => Object.assign(object.spec.template.spec.containers[0].ports[0], { containerPort: '80' }), /containerPort/],
    ['HorizontalPodAutoscaler acme/stock', object => Object.assign(object.spec, { maxReplicas: '6' }), /maxReplicas/],
    ['ServiceMonitor acme/stock', object => Object.assign(object.spec, { endpoints: {} }), /endpoints/],
    ['Prometheus observability/prometheus', object => Object.assign(object.spec, { retention: 12 }), /retention/],
  ])('%s is not when it is broken', async (name, break_, problem) => {
    const broken = structuredClone([...own, ...platform].find(manifest => nameOf(manifest) === name)) as Manifest
    break_(broken)
    expect(await problemOf(broken)).toMatch(problem)
  })
})
