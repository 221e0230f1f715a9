import { expect, test } from 'vitest'
import { Refused } from '../../../infra/kit/checks/refused.ts'
import { helmChart } from '../../../infra/kit/helm/chart.ts'
import type { Manifest, Overlay } from '../../../infra/kit/objects/manifest.ts'
import { loadSettings } from '../../../infra/kit/settings/settings.ts'
import { synthesize } from '../../../infra/kit/synth/synth.ts'
import { images, project, system } from '../../support/acme.ts'

const settings = loadSettings({}, system)
const made = (overlay?: Overlay) => Object.values(synthesize({ ...project, settings, images, ...(overlay && { overlay }) })).flat()
const annotate: Overlay = object => {
  if (object.kind === 'Deployment') object.metadata.annotations = { ...object.metadata.annotations, team: 'blue' }
  return object
}

test('an overlay changes the objects that it looks for, and no other', () => {
  const annotated = made(annotate)
  const deployments = ({ kind }: Manifest) => kind === 'Deployment'
  expect(annotated.filter(deployments).map(({ metadata }) => metadata.annotations?.team)).toEqual(annotated.filter(deployments).map(() => 'blue'))
  expect(annotated.filter(deployments).length).toBeGreaterThan(3)
  const others = (objects: Manifest[]) => objects.filter(object => !deployments(object))
  expect(others(annotated)).toEqual(others(made()))
})

test('it may give another object in place of one', () => {
  const renamed = made(object => (object.kind === 'Namespace' ? { ...object, metadata: { ...object.metadata, labels: { mine: 'yes' } } } : object))
  expect(renamed.find(({ kind }) => kind === 'Namespace')?.metadata.labels).toEqual({ mine: 'yes' })
})

test('it is in the chart as well', () => {
  const files = helmChart({ ...project, overlay: annotate } as never, settings, { hello: '1', stock: '1', booking: '1' })
  expect(files.get('templates/hello-deployment.yaml')).toContain('team: blue')
})

test('what it makes is held to the checks', () => {
  const moving: Overlay = object =>
    object.kind === 'Deployment'
      ? JSON.parse(JSON.stringify(object).replaceAll('registry.example/hello:1.0.0', 'registry.example/hello:latest'))
      : object
  expect(() => made(moving)).toThrow(Refused)
})
